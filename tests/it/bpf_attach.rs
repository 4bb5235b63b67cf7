//! The guard on a real interface: attached, switched, taken over, repaired, removed. Needs root.

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use eniway_agent::bpf::{
    Bpf, Count, Direction, Error, Guard, IngressMode, Kernel, Mode, Outcome, Reason, WantedIngress,
};

use crate::bpf_world::{ENI, OWN, STRANGER, World, files, guard, in_world, ip};

const TODAY: Kernel = Kernel {
    frags: true,
    tcx: true,
};
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
    check_enforces(TODAY, WantedIngress::XdpAuto, IngressMode::XdpNative);
}

#[test]
fn generic_xdp_enforces_and_leaves_nothing() {
    check_enforces(TODAY, WantedIngress::XdpGeneric, IngressMode::XdpGeneric);
}

#[test]
fn tcx_enforces_and_leaves_nothing() {
    check_enforces(TODAY, WantedIngress::Tc, IngressMode::Tc);
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
        let mut bpf = open(world, TODAY);
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
        let mut bpf = open(world, TODAY);
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
fn a_new_process_takes_the_guard_over_without_a_packet_lost() {
    const LAST: u32 = u32::MAX;
    in_world(1500, |world| {
        let want = guard(WantedIngress::XdpAuto, Mode::Enforce);
        open(world, TODAY)
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        let before = open(world, TODAY).attached().unwrap();
        let sender = world.host.try_clone().unwrap();
        let receiver = world.node.try_clone().unwrap();
        let (acknowledge, acknowledged) = mpsc::channel();
        let receiving = thread::spawn(move || {
            let mut numbers = Vec::new();
            while numbers.last() != Some(&LAST) {
                let mut number = [0; 4];
                receiver
                    .recv_from(&mut number)
                    .expect("no datagram is lost");
                numbers.push(u32::from_be_bytes(number));
                // The sender may be done.
                let _gone = acknowledge.send(());
            }
            numbers.pop();
            numbers
        });
        let is_over = Arc::new(AtomicBool::new(false));
        let sending = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                let mut sent = 0;
                while !is_over.load(Ordering::Relaxed) {
                    sender
                        .send_to(&u32::to_be_bytes(sent), (OWN, 7000))
                        .unwrap();
                    sent += 1;
                    // Never more under way than the receiver's socket holds.
                    if sent > 64 {
                        acknowledged.recv().expect("no datagram is lost");
                    }
                }
                sender.send_to(&LAST.to_be_bytes(), (OWN, 7000)).unwrap();
                sent
            }
        });
        for _ in 0..5 {
            open(world, TODAY)
                .attach(ENI, world.ifindex(), &want)
                .unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        let sent = sending.join().unwrap();
        assert!(receiving.join().unwrap().into_iter().eq(0..sent));
        let after = open(world, TODAY).attached().unwrap();
        assert_ne!(
            before[0].ingress, after[0].ingress,
            "the program is a new one"
        );
    });
}

#[test]
fn there_is_a_guard_at_every_moment_of_a_move() {
    in_world(1500, |world| {
        let want = |ingress| guard(ingress, Mode::Enforce);
        let mut bpf = open(world, TODAY);
        bpf.attach(ENI, world.ifindex(), &want(WantedIngress::Tc))
            .unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let attacker = thread::spawn({
            let host: UdpSocket = world.host.try_clone().unwrap();
            let is_over = Arc::clone(&is_over);
            move || {
                let mut sent = 0_u32;
                while !is_over.load(Ordering::Relaxed) {
                    host.send_to(b"stranger", (STRANGER, 7000)).unwrap();
                    sent += 1;
                }
                sent
            }
        });
        for _ in 0..3 {
            for (wanted, mode) in [
                (WantedIngress::XdpNative, IngressMode::XdpNative),
                (WantedIngress::XdpGeneric, IngressMode::XdpGeneric),
                (WantedIngress::XdpAuto, IngressMode::XdpNative),
                (WantedIngress::Tc, IngressMode::Tc),
            ] {
                let report = bpf.attach(ENI, world.ifindex(), &want(wanted)).unwrap();
                assert_eq!(report.mode, mode);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(attacker.join().unwrap() > 0);
        world.send_to(OWN, "own");
        let mut buffer = [0; 16];
        let (length, _) = world.node.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"own", "no stranger came through");
    });
}

#[test]
fn a_foreign_program_is_named_and_left_alone() {
    in_world(1500, |world| {
        let want = guard(WantedIngress::XdpAuto, Mode::Enforce);
        let mut foreign = Bpf::open(&world.bpffs.join("someone-else")).unwrap();
        foreign.attach(ENI, world.ifindex(), &want).unwrap();
        let theirs = foreign.attached().unwrap();

        let error = open(world, TODAY)
            .attach(ENI, world.ifindex(), &want)
            .unwrap_err();
        let Error::Foreign {
            program_id, name, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(program_id, theirs[0].ingress.unwrap().program_id);
        assert_eq!(name, "eni_ingress");
        assert_eq!(foreign.attached().unwrap(), theirs);
        open(world, TODAY).detach(ENI).unwrap();
        assert_eq!(foreign.attached().unwrap(), theirs);
    });
}

#[test]
fn a_link_whose_interface_is_gone_is_made_anew() {
    for wanted in [WantedIngress::XdpAuto, WantedIngress::Tc] {
        in_world(1500, move |world| {
            let want = guard(wanted, Mode::Enforce);
            let mut bpf = open(world, TODAY);
            bpf.attach(ENI, world.ifindex(), &want).unwrap();
            world.replug();
            assert_eq!(bpf.attached().unwrap()[0].ifindex, 0);
            bpf.attach(ENI, world.ifindex(), &want).unwrap();
            assert_eq!(bpf.attached().unwrap()[0].ifindex, world.ifindex());
            drops_strangers(world);
        });
    }
}

#[test]
fn a_driver_that_refuses_gets_the_guard_on_tc_with_the_reason() {
    // A veth takes no program for single buffers when its peer's packets may be longer than one.
    in_world(9000, |world| {
        let kernel = Kernel {
            frags: false,
            tcx: true,
        };
        let mut bpf = open(world, kernel);
        let want = guard(WantedIngress::XdpAuto, Mode::Enforce);
        let report = bpf.attach(ENI, world.ifindex(), &want).unwrap();
        assert_eq!(report.mode, IngressMode::Tc);
        let reason = report.reason.unwrap();
        assert!(reason.starts_with("native XDP refused: "), "{reason}");
        assert!(
            reason.ends_with("; the check runs on TC ingress"),
            "{reason}"
        );
        drops_strangers(world);

        let report = open(world, TODAY)
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        assert_eq!((report.mode, report.frags), (IngressMode::XdpNative, true));
        drops_strangers(world);
    });
}

#[test]
fn a_newer_kernel_takes_the_filters_place() {
    in_world(1500, |world| {
        let want = guard(WantedIngress::Tc, Mode::Enforce);
        open(world, CLSACT)
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        open(world, CLSACT)
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        drops_strangers(world);
        open(world, TODAY)
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        drops_strangers(world);
        let links: Vec<_> = files(&world.bpffs.join("eniway/links"))
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(links, ["egress", "ingress"]);
    });
}

#[test]
fn what_a_crash_left_half_done_is_repaired() {
    fn check(want: &Guard, crash: impl Fn(&Path)) {
        let want = want.clone();
        let links = |world: &World| world.bpffs.join("eniway/links").join(ENI);
        // The state is made in one world, because a crash leaves it in a running one.
        let (sender, receiver) = mpsc::channel::<PathBuf>();
        let (resume, resumed) = mpsc::channel();
        thread::scope(|scope| {
            let world = scope.spawn(move || {
                in_world(1500, move |world| {
                    let mut bpf = open(world, TODAY);
                    bpf.attach(ENI, world.ifindex(), &want).unwrap();
                    // Through this thread's own root: the bpffs is mounted for it alone.
                    let root = format!("/proc/{}/root", nix::unistd::gettid());
                    let links = links(world);
                    sender
                        .send(Path::new(&root).join(links.strip_prefix("/").unwrap()))
                        .unwrap();
                    resumed.recv().unwrap();
                    bpf.attach(ENI, world.ifindex(), &want).unwrap();
                    drops_strangers(world);
                    assert_eq!(files(&links).len(), 2);
                });
            });
            crash(&receiver.recv().unwrap());
            resume.send(()).unwrap();
            world.join().unwrap();
        });
    }
    let want = guard(WantedIngress::XdpAuto, Mode::Enforce);
    // After the new link was pinned where none was, before it got its name.
    check(&want, |links| {
        fs::rename(links.join("ingress"), links.join("ingress-new")).unwrap();
    });
    // After the maps were made, before anything was attached.
    check(&want, |links| {
        fs::remove_file(links.join("ingress")).unwrap();
        fs::remove_file(links.join("egress")).unwrap();
    });
    // After what leaves was attached, before what arrives was.
    check(&want, |links| {
        fs::remove_file(links.join("ingress")).unwrap();
    });
}

#[test]
fn a_full_map_is_named() {
    in_world(1500, |world| {
        let mut bpf = open(world, TODAY);
        let mut want = guard(WantedIngress::Tc, Mode::Enforce);
        want.config.addresses = (0..=4096_u32)
            .map(|host| {
                let address = std::net::Ipv4Addr::from_bits(0x0a01_0000 + host);
                format!("{address}/32").parse().unwrap()
            })
            .collect();
        let error = bpf.attach(ENI, world.ifindex(), &want).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the map LOCAL4 of {ENI} is full: it holds 4096 addresses and prefixes")
        );
    });
}

#[test]
fn a_folder_outside_bpffs_is_refused_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let error = Bpf::open(&folder.path().join("eniway")).unwrap_err();
    assert!(
        error.to_string().contains("mount -t bpf bpf /sys/fs/bpf"),
        "{error}"
    );
    assert!(!folder.path().join("eniway").exists());
}

#[test]
fn a_name_that_cannot_be_a_pin_is_refused() {
    in_world(1500, |world| {
        let want = guard(WantedIngress::Tc, Mode::Enforce);
        for name in ["", "..", "eni.1", "a/b"] {
            let error = open(world, TODAY)
                .attach(name, world.ifindex(), &want)
                .unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{error}");
        }
    });
}

#[test]
fn an_interface_in_nobodys_hands_stays_so() {
    in_world(1500, |world| {
        let before = ip("-d link show dev eni0");
        let mut bpf = open(world, TODAY);
        bpf.attach(
            ENI,
            world.ifindex(),
            &guard(WantedIngress::XdpAuto, Mode::Enforce),
        )
        .unwrap();
        assert_ne!(ip("-d link show dev eni0"), before);
        bpf.detach(ENI).unwrap();
        assert_eq!(ip("-d link show dev eni0"), before);
    });
}
