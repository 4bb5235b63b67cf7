//! The guard on a real interface: attached, switched, removed. Needs root.

mod handover;
mod modes;
mod refusals;

use std::path::PathBuf;

use eniway_agent::bpf::{
    Bpf, Count, Direction, IngressMode, Kernel, Mode, Outcome, Reason, WantedIngress,
};

use crate::bpf_world::{ENI, World, files, guard, in_world, ip};

/// The kernel that runs.
fn today() -> Kernel {
    Kernel::current().unwrap()
}

/// Kernel 6.1: no TCX.
const CLSACT: Kernel = Kernel {
    frags: true,
    tcx: false,
};

fn open(world: &World, kernel: Kernel) -> Bpf {
    Bpf::with_kernel(&world.bpffs.join("eniway"), kernel).unwrap()
}

fn counted(bpf: &Bpf, direction: Direction, reason: Reason, outcome: Outcome) -> u64 {
    let is_it = |count: &&Count| {
        (count.direction, count.reason, count.outcome) == (direction, reason, outcome)
    };
    let counts = bpf.counters(ENI).unwrap();
    counts.iter().find(is_it).map_or(0, |count| count.packets)
}

fn drops_strangers(world: &World) {
    assert_eq!(world.arriving(), ["own"]);
    assert_eq!(world.leaving(), ["own"]);
}

fn check_enforces(kernel: Kernel, wanted: WantedIngress, expected: IngressMode) {
    in_world(1500, move |world| {
        let mut bpf = open(world, kernel);
        let report = bpf
            .attach(ENI, world.ifindex(), &guard(wanted, Mode::Enforce))
            .unwrap();
        assert_eq!((report.mode, report.reason), (expected, None));
        assert_eq!(report.tcx, kernel.tcx);
        drops_strangers(world);
        let dropped = |direction, reason| counted(&bpf, direction, reason, Outcome::Dropped);
        assert_eq!(dropped(Direction::Ingress, Reason::DestinationMismatch), 1);
        assert_eq!(dropped(Direction::Egress, Reason::SourceMismatch), 1);
        let attached = bpf.attached().unwrap();
        assert_eq!(attached.len(), 1);
        assert_eq!(
            (&*attached[0].eni, attached[0].ifindex),
            (ENI, world.ifindex())
        );
        assert_eq!(attached[0].ingress.unwrap().mode, expected);
        assert_ne!(attached[0].egress.unwrap().program_id, 0);
        assert_eq!(attached[0].egress.unwrap().mode, IngressMode::Tc);

        bpf.detach(ENI).unwrap();
        assert_eq!(world.arriving(), ["stranger", "own"]);
        assert_eq!(world.leaving(), ["stranger", "own"]);
        assert_eq!(files(&world.bpffs.join("eniway")), Vec::<PathBuf>::new());
        assert_eq!(bpf.attached().unwrap(), []);
        bpf.detach(ENI).unwrap();
    });
}

#[test]
fn native_xdp_enforces_and_leaves_nothing() {
    check_enforces(today(), WantedIngress::XdpAuto, IngressMode::XdpNative);
}

#[test]
fn generic_xdp_enforces_and_leaves_nothing() {
    check_enforces(today(), WantedIngress::XdpGeneric, IngressMode::XdpGeneric);
}

#[test]
fn tcx_enforces_and_leaves_nothing() {
    check_enforces(today(), WantedIngress::Tc, IngressMode::Tc);
}

#[test]
fn a_kernel_without_tcx_enforces_by_filters() {
    check_enforces(CLSACT, WantedIngress::Tc, IngressMode::Tc);
}

#[test]
fn a_kernel_without_tcx_enforces_by_xdp_and_a_filter() {
    check_enforces(CLSACT, WantedIngress::XdpNative, IngressMode::XdpNative);
}

#[test]
fn the_mode_changes_live() {
    in_world(1500, |world| {
        let mut bpf = open(world, today());
        let want = |mode| guard(WantedIngress::XdpAuto, mode);
        bpf.attach(ENI, world.ifindex(), &want(Mode::Enforce))
            .unwrap();
        drops_strangers(world);
        let programs = bpf.attached().unwrap();

        bpf.configure(ENI, &want(Mode::Audit).config).unwrap();
        assert_eq!(world.arriving(), ["stranger", "own"]);
        assert_eq!(world.leaving(), ["stranger", "own"]);
        let audited = |direction, reason| counted(&bpf, direction, reason, Outcome::Audited);
        assert_eq!(audited(Direction::Ingress, Reason::DestinationMismatch), 1);
        assert_eq!(audited(Direction::Egress, Reason::SourceMismatch), 1);

        bpf.configure(ENI, &want(Mode::Off).config).unwrap();
        assert_eq!(world.arriving(), ["stranger", "own"]);
        assert_eq!(
            counted(&bpf, Direction::Ingress, Reason::Off, Outcome::Passed),
            2
        );

        bpf.configure(ENI, &want(Mode::Enforce).config).unwrap();
        drops_strangers(world);
        assert_eq!(bpf.attached().unwrap(), programs, "no program was loaded");
    });
}

#[test]
fn addresses_come_and_go_live() {
    in_world(1500, |world| {
        let mut bpf = open(world, today());
        let mut want = guard(WantedIngress::XdpAuto, Mode::Enforce);
        bpf.attach(ENI, world.ifindex(), &want).unwrap();
        drops_strangers(world);
        want.config.addresses.push("10.0.1.11/32".parse().unwrap());
        bpf.configure(ENI, &want.config).unwrap();
        assert_eq!(world.arriving(), ["stranger", "own"]);
        want.config.addresses.pop();
        bpf.configure(ENI, &want.config).unwrap();
        drops_strangers(world);
    });
}

#[test]
fn programs_that_were_kept_ready_are_one_enis_own() {
    in_world(1500, |world| {
        let mut bpf = open(world, today());
        bpf.prepare().unwrap();
        let want = guard(WantedIngress::XdpNative, Mode::Enforce);
        bpf.attach(ENI, world.ifindex(), &want).unwrap();
        drops_strangers(world);
        // Another ENI gets others, with counters of its own.
        bpf.prepare().unwrap();
        ip("link add other0 type veth peer name other1");
        let other = nix::net::if_::if_nametoindex("other0").unwrap();
        bpf.attach("eni-2", other, &want).unwrap();
        assert_eq!(bpf.counters("eni-2").unwrap(), []);
        let dropped = |bpf: &Bpf| {
            counted(
                bpf,
                Direction::Ingress,
                Reason::DestinationMismatch,
                Outcome::Dropped,
            )
        };
        assert_eq!(dropped(&bpf), 1);
        // Who has maps keeps them, though programs are ready.
        bpf.prepare().unwrap();
        bpf.attach(ENI, world.ifindex(), &want).unwrap();
        drops_strangers(world);
        assert_eq!(dropped(&bpf), 2);
        bpf.detach(ENI).unwrap();
        bpf.detach("eni-2").unwrap();
        assert_eq!(bpf.attached().unwrap(), []);
    });
}
