mod dpdk;

use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use super::*;
use crate::{
    bpf::{GuardConfig, Hook, PodInterface, WantedIngress},
    desired::Network,
    netlink::{Channels, Device, Driver, Release},
    plan::{self, InForce, network::Shown, steering::Targets},
};

struct Case {
    wish: Wish,
    presence: Presence,
    attached: Option<Attached>,
    unfinished: bool,
    failure: Option<Failure>,
    missing: Duration,
    last: Option<NodeStatus>,
    device: plan::dpdk::Shown,
}

fn config() -> GuardConfig {
    GuardConfig {
        mac: [2, 0, 0, 0, 0, 1],
        mode: Mode::Enforce,
        source_dest_check: true,
        addresses: Vec::new(),
        subnets: Vec::new(),
    }
}

fn provide() -> Wish {
    Wish::Provide(Desired {
        eni: "eni-1".into(),
        mac: eniway_api::MacAddress([2, 0, 0, 0, 0, 1]),
        mtu: None,
        mtu_policy: Default::default(),
        channel_policy: Default::default(),
        ingress: WantedIngress::XdpAuto,
        config: config(),
        steering: Vec::new(),
        network: Network::default(),
        device: crate::desired::Device::default(),
    })
}

fn attached(ifindex: u32) -> Option<Attached> {
    let hook = |mode| Hook {
        mode,
        frags: false,
        program_id: 7,
    };
    Some(Attached {
        eni: "eni-1".to_owned(),
        ifindex,
        ingress: Some(hook(IngressMode::XdpNative)),
        egress: Some(hook(IngressMode::Tc)),
        pods: Vec::new(),
    })
}

/// Everything as it should be.
fn good() -> Case {
    Case {
        wish: provide(),
        presence: Presence::Present(Interface {
            index: 3,
            name: "ens6".to_owned(),
            other_names: Vec::new(),
            up: true,
            mtu: 9001,
            pci_address: Some("0000:00:06.0".to_owned()),
            driver: Some("ena".to_owned()),
            device: Device {
                kernel: Release(6, 12),
                ..Device::default()
            },
        }),
        attached: attached(3),
        unfinished: false,
        failure: None,
        missing: Duration::ZERO,
        last: None,
        device: plan::dpdk::Shown::default(),
    }
}

fn check(case: &Case, expected: &Expect) {
    let in_force = InForce {
        config: config(),
        attached: Some((3, WantedIngress::XdpAuto)),
        steering: Vec::new(),
    };
    let status = status(&Situation {
        wish: &case.wish,
        observed: Observed {
            presence: &case.presence,
            attached: case.attached.as_ref(),
            found_mtu: None,
            found_channels: None,
            in_force: Some(&in_force),
            targets: &Targets::default(),
            network: &Shown::default(),
            links: &BTreeSet::new(),
            device: &case.device,
        },
        unfinished: case.unfinished,
        failure: case.failure.as_ref(),
        xdp_reason: None,
        missing: case.missing,
        generation: None,
        difference: None,
        last: case.last.as_ref(),
    });
    expected.assert_eq(&serde_json::to_string(&status).unwrap());
}

#[test]
fn a_guarded_interface_is_ready() {
    check(
        &good(),
        &expect![[
            r#"{"phase":"Ready","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"ena","mtu":9001,"xdp":{"mode":"Native"},"enforcement":"Enforce"}"#
        ]],
    );
}

#[test]
fn one_with_work_left_is_being_configured_and_what_is_there_is_told() {
    check(
        &Case {
            unfinished: true,
            attached: None,
            ..good()
        },
        &expect![[
            r#"{"phase":"Configuring","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"ena","mtu":9001}"#
        ]],
    );
}

#[test]
fn a_failure_is_told_beside_what_is_there() {
    let failure = Some(Failure {
        reason: Reason::MtuRefused,
        message: "set the MTU of ens6 to 9001: no".to_owned(),
    });
    check(
        &Case {
            unfinished: true,
            failure,
            ..good()
        },
        &expect![[
            r#"{"phase":"Failed","reason":"MTURefused","message":"set the MTU of ens6 to 9001: no","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"ena","mtu":9001,"xdp":{"mode":"Native"},"enforcement":"Enforce"}"#
        ]],
    );
}

#[test]
fn one_that_pods_share_is_released_when_they_have_ended() {
    let mut attached = attached(3);
    if let Some(attached) = &mut attached {
        attached.pods = vec![PodInterface {
            interface: 9,
            mac: [0; 6],
            node_mac: [0; 6],
            addresses: vec![
                "10.0.1.17".parse().unwrap(),
                "2600:1f13::7".parse().unwrap(),
            ],
        }];
    }
    let case = |force| Case {
        wish: Wish::Release {
            eni: Some("eni-1".into()),
            mac: None,
            force,
            network: Network::default(),
        },
        attached: attached.clone(),
        unfinished: force,
        ..good()
    };
    check(
        &case(false),
        &expect![[
            r#"{"phase":"Releasing","reason":"InUse","message":"pods have its addresses 10.0.1.17, 2600:1f13::7; it is released when they have ended, or when the record is annotated eniway.io/force-release=true"}"#
        ]],
    );
    check(&case(true), &expect![[r#"{"phase":"Releasing"}"#]]);
}

#[test]
fn one_that_a_pod_has_is_in_use_still_guarded_and_known_by_its_last_name() {
    let last = NodeStatus {
        phase: NodePhase::Ready,
        interface_name: Some("ens6".to_owned()),
        driver: Some("ena".to_owned()),
        mtu: Some(9001),
        ..NodeStatus::default()
    };
    let mut case = Case {
        presence: Presence::Absent,
        last: Some(last),
        ..good()
    };
    check(
        &case,
        &expect![[
            r#"{"phase":"InPod","interfaceName":"ens6","driver":"ena","xdp":{"mode":"Native"},"enforcement":"Enforce"}"#
        ]],
    );
    // A filter of a clsact qdisc does not follow an interface.
    if let Some(attached) = &mut case.attached {
        attached.egress = None;
    }
    check(
        &case,
        &expect![[
            r#"{"phase":"InPod","interfaceName":"ens6","driver":"ena","xdp":{"mode":"Native"},"enforcement":"Enforce","egressCheck":"Lost"}"#
        ]],
    );
}

#[test]
fn a_missing_one_is_pending_and_then_failed() {
    let case = |missing| Case {
        presence: Presence::Absent,
        attached: None,
        missing,
        ..good()
    };
    check(
        &case(Duration::from_secs(1)),
        &expect![[
            r#"{"phase":"Pending","reason":"InterfaceNotFound","message":"no interface with the MAC address 02:00:00:00:00:01 in the node's namespace; if EC2 shows eni-1 as attached, look for the device in lspci and the kernel log"}"#
        ]],
    );
    check(
        &case(MISSING),
        &expect![[
            r#"{"phase":"Failed","reason":"InterfaceNotFound","message":"no interface with the MAC address 02:00:00:00:00:01 in the node's namespace; if EC2 shows eni-1 as attached, look for the device in lspci and the kernel log"}"#
        ]],
    );
}

#[test]
fn a_release_is_over_when_nothing_is_left_and_not_before() {
    let case = |presence, attached, force| Case {
        wish: Wish::Release {
            eni: Some("eni-1".into()),
            mac: None,
            force,
            network: Network::default(),
        },
        presence,
        attached,
        ..good()
    };
    let present = || good().presence;
    check(
        &case(present(), attached(3), false),
        &expect![[r#"{"phase":"Releasing"}"#]],
    );
    check(
        &case(present(), attached(0), false),
        &expect![[r#"{"phase":"Releasing"}"#]],
    );
    check(
        &case(Presence::Absent, attached(3), false),
        &expect![[
            r#"{"phase":"Releasing","reason":"InUse","message":"the interface is inside a pod; it is released when the pod gives it back, or when the record is annotated eniway.io/force-release=true"}"#
        ]],
    );
    check(
        &case(present(), None, false),
        &expect![[r#"{"phase":"Released","released":true}"#]],
    );
    // Nothing of ours, but a pod was given it.
    let held = |force| {
        let mut held = case(present(), None, force);
        held.device.holders = vec!["pod default/user".to_owned()];
        held
    };
    check(
        &held(false),
        &expect![[
            r#"{"phase":"Releasing","reason":"InUse","message":"pod default/user has its device; it is released when it is let go"}"#
        ]],
    );
    check(
        &held(true),
        &expect![[r#"{"phase":"Released","released":true}"#]],
    );
}

#[test]
fn an_unreadable_record_asks_for_a_newer_agent() {
    let record = Unreadable {
        name: "record".to_owned(),
        uid: "u".to_owned(),
        generation: Some(2),
        eni: None,
        status: None,
        release: None,
        error: "unknown variant `Hardware`".to_owned(),
    };
    let status = unreadable(&record);
    assert_eq!(status.reason.as_deref(), Some("AgentTooOld"));
    assert_eq!(status.phase, NodePhase::Failed);
    assert_eq!(status.observed_generation, Some(2));
}

#[test]
fn what_cannot_be_seen_is_not_called_released() {
    let failure = Failure {
        reason: Reason::BpffsUnavailable,
        message: "list the pins: no".to_owned(),
    };
    let status = unreleased(&failure, Some(1));
    assert_eq!(status.phase, NodePhase::Releasing);
    assert!(!status.released);
}

/// A kernel's own ENA with all channels in use, at this MTU.
fn ena(mtu: u32, wanted: WantedIngress) -> Case {
    let mut case = good();
    let Presence::Present(interface) = &mut case.presence else {
        unreachable!()
    };
    interface.mtu = mtu;
    interface.device.driver = Some(Driver {
        name: "ena".to_owned(),
        version: "6.12.0".to_owned(),
    });
    interface.device.channels = Some(Channels { current: 8, max: 8 });
    let Wish::Provide(desired) = &mut case.wish else {
        unreachable!()
    };
    desired.ingress = wanted;
    let ingress = case.attached.as_mut().unwrap().ingress.as_mut();
    ingress.unwrap().mode = IngressMode::Tc;
    case
}

#[test]
fn auto_on_tc_is_ready_and_says_why() {
    check(
        &ena(9001, WantedIngress::XdpAuto),
        &expect![[
            r#"{"phase":"Ready","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"ena","mtu":9001,"xdp":{"mode":"Tc","reason":"with native XDP ena 6.12.0 takes an MTU of at most 3498, and it is 9001; xdp: Native with mtuPolicy: Lower changes that; the check runs on TC ingress"},"enforcement":"Enforce"}"#
        ]],
    );
}

#[test]
fn native_that_cannot_be_fails_by_what_stands_in_its_way() {
    check(
        &ena(1500, WantedIngress::XdpNative),
        &expect![[
            r#"{"phase":"Failed","reason":"XDPUnsupportedChannels","message":"native XDP on ens6: with native XDP ena 6.12.0 takes at most 4 of its 8 channels, and 8 are in use; xdp: Native with channelPolicy: Reduce changes that","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"ena","mtu":1500,"xdp":{"mode":"Tc","reason":"with native XDP ena 6.12.0 takes at most 4 of its 8 channels, and 8 are in use; xdp: Native with channelPolicy: Reduce changes that; the check runs on TC ingress"},"enforcement":"Enforce"}"#
        ]],
    );
}
