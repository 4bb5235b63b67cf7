//! What cannot be attached is named, and nothing of others is touched. Needs root.

use eniway_agent::bpf::{Bpf, Error, IngressMode, Kernel, Mode, Obstacle, WantedIngress};

use super::{drops_strangers, open, today};
use crate::bpf_world::{ENI, guard, in_world, ip};

#[test]
fn a_foreign_program_is_named_and_left_alone() {
    in_world(1500, |world| {
        let want = guard(WantedIngress::XdpAuto, Mode::Enforce);
        let mut foreign = Bpf::open(&world.bpffs.join("someone-else")).unwrap();
        foreign.attach(ENI, world.ifindex(), &want).unwrap();
        let theirs = foreign.attached().unwrap();

        let error = open(world, today())
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
        open(world, today()).detach(ENI).unwrap();
        assert_eq!(foreign.attached().unwrap(), theirs);
    });
}

#[test]
fn a_driver_that_refuses_gets_the_guard_on_tc_with_the_reason() {
    // A veth takes no program for single buffers when its peer's packets may be longer than one.
    in_world(9000, |world| {
        let kernel = Kernel {
            frags: false,
            ..today()
        };
        let mut bpf = open(world, kernel);
        let want = guard(WantedIngress::XdpAuto, Mode::Enforce);
        let report = bpf.attach(ENI, world.ifindex(), &want).unwrap();
        assert_eq!(report.mode, IngressMode::Tc);
        let reason = report.reason.unwrap();
        assert!(reason.starts_with("native XDP refused: "), "{reason}");
        // The driver's own words, which an error number alone does not bring.
        assert!(reason.contains("MTU is too large"), "{reason}");
        assert!(!reason.contains("os error"), "{reason}");
        assert_eq!(report.obstacle, Some(Obstacle::Mtu));
        assert!(
            reason.ends_with("; the check runs on TC ingress"),
            "{reason}"
        );
        drops_strangers(world);

        let report = open(world, today())
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        assert_eq!((report.mode, report.frags), (IngressMode::XdpNative, true));
        drops_strangers(world);
    });
}

#[test]
fn a_full_map_is_named() {
    in_world(1500, |world| {
        let mut bpf = open(world, today());
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
            let error = open(world, today())
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
        let mut bpf = open(world, today());
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
