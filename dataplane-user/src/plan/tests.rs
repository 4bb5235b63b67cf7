mod laws;
mod model;
mod networks;
mod pods;
mod policies;
mod steered;

use eniway_api::{ChannelPolicy, MtuPolicy};
use expect_test::{Expect, expect};

use self::model::Kernel;
use super::*;
use crate::bpf::{Hook, IngressMode};

const ENI: &str = "eni-1";

fn desired(ingress: WantedIngress, mode: Mode) -> Desired {
    Desired {
        eni: ENI.into(),
        mac: eniway_api::MacAddress([2, 0, 0, 0, 0, 1]),
        mtu: None,
        mtu_policy: MtuPolicy::Fail,
        channel_policy: ChannelPolicy::Fail,
        ingress,
        config: GuardConfig {
            mac: [2, 0, 0, 0, 0, 1],
            mode,
            source_dest_check: true,
            addresses: Vec::new(),
            subnets: Vec::new(),
        },
        steering: Vec::new(),
        network: Network::default(),
        device: crate::desired::Device::default(),
    }
}

fn release(force: bool) -> Wish {
    Wish::Release {
        eni: Some(ENI.into()),
        mac: None,
        force,
        network: networks::wanted(),
    }
}

fn check(mut kernel: Kernel, wish: &Wish, expected: &Expect) {
    expected.assert_eq(&kernel.converge(wish));
}

#[test]
fn under_enforce_an_interface_goes_up_only_when_it_is_guarded() {
    check(
        Kernel::plugged(3, false),
        &Wish::Provide(desired(WantedIngress::XdpAuto, Mode::Enforce)),
        &expect![[r#"
            guard ens6 for eni-1 (XdpAuto, Enforce)
            set ens6 up
        "#]],
    );
}

#[test]
fn under_audit_an_interface_goes_up_even_if_the_guard_is_refused() {
    check(
        Kernel::plugged(3, false),
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Audit)),
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Audit); set ens6 up
        "#]],
    );
}

#[test]
fn the_mtu_is_set_before_the_guard_and_only_when_asked_for() {
    let mut desired = desired(WantedIngress::XdpNative, Mode::Enforce);
    desired.mtu = Some(9001);
    check(
        Kernel::plugged(3, true),
        &Wish::Provide(desired),
        &expect![[r#"
            set the MTU of ens6 to 9001; guard ens6 for eni-1 (XdpNative, Enforce)
        "#]],
    );
}

#[test]
fn an_mtu_that_was_changed_is_given_back_after_the_guard_is_gone() {
    let mut kernel = Kernel::plugged(3, true);
    let mut desired = desired(WantedIngress::XdpNative, Mode::Enforce);
    for mtu in [3000, 3498] {
        desired.mtu = Some(mtu);
        kernel.converge(&Wish::Provide(desired.clone()));
    }
    check(
        kernel.clone(),
        &release(false),
        &expect![[r#"
            remove the guard of eni-1
            give ens6 its MTU 1500 back
        "#]],
    );
    desired.mtu = None;
    check(
        kernel.clone(),
        &Wish::Provide(desired),
        &expect![[r#"
            give ens6 its MTU 1500 back
        "#]],
    );
    kernel.presence = Presence::Absent;
    check(
        kernel,
        &release(true),
        &expect![[r#"
            remove the guard of eni-1
            forget the MTU that eni-1 was found with
        "#]],
    );
}

#[test]
fn a_restart_attaches_once_more_which_adopts_what_is_there() {
    check(
        Kernel::plugged(3, true).guarded(3),
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce)),
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Enforce)
        "#]],
    );
}

#[test]
fn a_change_of_mode_loads_no_program() {
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&Wish::Provide(desired(
        WantedIngress::XdpAuto,
        Mode::Enforce,
    )));
    check(
        kernel,
        &Wish::Provide(desired(WantedIngress::XdpAuto, Mode::Audit)),
        &expect![[r#"
            configure the guard of eni-1 (Audit, 0 addresses)
        "#]],
    );
}

#[test]
fn another_interface_with_the_mac_is_guarded_anew() {
    let wish = Wish::Provide(desired(WantedIngress::Tc, Mode::Audit));
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&wish);
    kernel.presence = Kernel::plugged(4, true).presence;
    kernel.attached.as_mut().unwrap().ifindex = 0;
    check(
        kernel,
        &wish,
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Audit)
        "#]],
    );
}

#[test]
fn a_guard_that_someone_removed_comes_back() {
    let wish = Wish::Provide(desired(WantedIngress::Tc, Mode::Audit));
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&wish);
    kernel.attached.as_mut().unwrap().egress = None;
    check(
        kernel,
        &wish,
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Audit)
        "#]],
    );
}

#[test]
fn in_a_pod_an_older_agents_programs_are_replaced_and_then_only_settings_change() {
    let mut kernel = Kernel::empty().guarded(3);
    let enforce = Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce));
    expect![[r#"
        replace the guard of eni-1 in its pod (Enforce, 0 addresses, 0 steering rules)
    "#]]
    .assert_eq(&kernel.converge(&enforce));
    check(
        kernel,
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Audit)),
        &expect![[r#"
            configure the guard of eni-1 (Audit, 0 addresses)
        "#]],
    );
}

#[test]
fn what_a_device_left_behind_is_removed() {
    check(
        Kernel::empty().guarded(0),
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce)),
        &expect![[r#"
            remove the guard of eni-1
        "#]],
    );
}

#[test]
fn a_release_waits_for_the_pod_unless_forced() {
    check(Kernel::empty().guarded(3), &release(false), &expect![""]);
    check(
        Kernel::empty().guarded(3),
        &release(true),
        &expect![[r#"
            remove the guard of eni-1
        "#]],
    );
    check(
        Kernel::plugged(3, true).guarded(3),
        &release(false),
        &expect![[r#"
            remove the guard of eni-1
        "#]],
    );
    check(Kernel::plugged(3, true), &release(false), &expect![""]);
}

#[test]
fn an_ambiguous_interface_is_left_alone() {
    let presence = Presence::Ambiguous(vec!["a".to_owned(), "b".to_owned()]);
    let kernel = Kernel {
        presence,
        ..Kernel::empty()
    };
    check(
        kernel,
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce)),
        &expect![""],
    );
}

#[test]
fn only_what_no_record_knows_is_an_orphan() {
    let attached = [
        Kernel::empty().guarded(3).attached.unwrap(),
        Attached {
            eni: "eni-2".to_owned(),
            ifindex: 0,
            ingress: None,
            egress: None,
            pods: Vec::new(),
        },
    ];
    let found = BTreeMap::from([(ENI.to_owned(), 1500), ("eni-3".to_owned(), 1500)]);
    let orphans = orphans(
        &attached,
        &Found {
            mtus: found.clone(),
            channels: found,
            ..Found::default()
        },
        &[ENI.into()],
    );
    let eni = "eni-2".into();
    let detach = Action::DetachGuard { eni };
    let eni = "eni-3".into();
    let mtu = Action::ForgetMtu { eni };
    let eni = "eni-3".into();
    assert_eq!(orphans, [detach, mtu, Action::ForgetChannels { eni }]);
}
