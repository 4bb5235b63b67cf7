//! One row for each generation of ENA, kernel, MTU and number of channels, and rows of other drivers.

use super::*;
use crate::netlink::Driver;

const BASIC: Option<u64> = Some(3);
const FRAGS: Option<u64> = Some(0x23);
const NO_FEATURES: Option<u64> = Some(0);
/// Kernels before 6.3.
const UNTOLD: Option<u64> = None;

/// Driver and version, kernel, features, MTU, channels in use and at most.
type Row = (
    &'static str,
    &'static str,
    (u32, u32),
    Option<u64>,
    u32,
    Option<(u32, u32)>,
);

fn decide(row: Row, ingress: WantedIngress, lower: MtuPolicy, reduce: ChannelPolicy) -> Preflight {
    let (name, version, (major, minor), features, mtu, channels) = row;
    let channels = channels.map(|(current, max)| Channels { current, max });
    let device = Device {
        driver: Some(Driver {
            name: name.to_owned(),
            version: version.to_owned(),
        }),
        channels,
        features: features.map(XdpFeatures),
        kernel: Release(major, minor),
        is_distrusted: false,
    };
    let policy = Policy {
        ingress,
        mtu: lower,
        channels: reduce,
    };
    preflight(policy, &device, mtu, channels)
}

/// What becomes of a row, in a word or two: by `Auto`, by `Native`, by `Native` that may change everything.
fn verdicts(row: Row) -> [String; 3] {
    let native = WantedIngress::XdpNative;
    [
        decide(
            row,
            WantedIngress::XdpAuto,
            MtuPolicy::Lower,
            ChannelPolicy::Reduce,
        ),
        decide(row, native, MtuPolicy::Fail, ChannelPolicy::Fail),
        decide(row, native, MtuPolicy::Lower, ChannelPolicy::Reduce),
    ]
    .map(|decision| {
        let mut words = match decision.path {
            Path::Native { frags: true } => "frags".to_owned(),
            Path::Native { frags: false } => "plain".to_owned(),
            Path::Generic => "generic".to_owned(),
            Path::Tc(why) => format!("tc{}", if why.is_some() { "" } else { " as asked" }),
            Path::Refused(obstacle, _) => format!("no: {obstacle:?}"),
        };
        if let Some(mtu) = decision.lower_mtu {
            words += &format!(" mtu={mtu}");
        }
        if let Some(channels) = decision.reduce_channels {
            words += &format!(" channels={channels}");
        }
        words
    })
}

#[test]
fn an_agent_without_perfmon_checks_on_tc_where_the_kernel_wants_it() {
    let path = |kernel, is_distrusted| {
        let device = Device {
            kernel,
            is_distrusted,
            ..Device::default()
        };
        let policy = Policy {
            ingress: WantedIngress::XdpAuto,
            mtu: MtuPolicy::Fail,
            channels: ChannelPolicy::Fail,
        };
        preflight(policy, &device, 1500, None).path
    };
    let why = match path(Release(5, 17), true) {
        Path::Tc(why) => why.unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(why.contains("agent.perfmon"), "{why}");
    assert_eq!(path(Release(5, 17), false), Path::Native { frags: false });
    assert_eq!(path(Release(5, 18), true), Path::Native { frags: true });
}

#[test]
fn ena_is_known_by_its_generation() {
    let in_tree_61 = ("ena", "6.1.0-50-cloud-amd64");
    let in_tree = ("ena", "6.8.0-1024-aws");
    #[rustfmt::skip]
    let table: &[(Row, [&str; 3])] = &[
        // The kernel's own: one buffer, and a channel of its own for each.
        ((in_tree.0, in_tree.1, (6, 8), BASIC, 3498, Some((4, 8))), ["plain", "plain", "plain"]),
        ((in_tree.0, in_tree.1, (6, 8), BASIC, 3499, Some((4, 8))), ["tc", "no: Mtu", "plain mtu=3498"]),
        ((in_tree.0, in_tree.1, (6, 8), BASIC, 9001, Some((4, 8))), ["tc", "no: Mtu", "plain mtu=3498"]),
        ((in_tree.0, in_tree.1, (6, 8), NO_FEATURES, 1500, Some((8, 8))), ["tc", "no: Channels", "plain channels=4"]),
        ((in_tree.0, in_tree.1, (6, 8), NO_FEATURES, 9001, Some((5, 8))), ["tc", "no: Mtu", "plain mtu=3498 channels=4"]),
        ((in_tree.0, in_tree.1, (6, 8), BASIC, 1500, Some((1, 1))), ["tc", "no: Channels", "no: Channels"]),
        ((in_tree.0, in_tree.1, (6, 8), BASIC, 1500, Some((3, 7))), ["plain", "plain", "plain"]),
        ((in_tree_61.0, in_tree_61.1, (6, 1), UNTOLD, 1500, Some((2, 4))), ["plain", "plain", "plain"]),
        ((in_tree_61.0, in_tree_61.1, (6, 1), UNTOLD, 9001, Some((4, 4))), ["tc", "no: Mtu", "plain mtu=3498 channels=2"]),
        (("ena", "5.10.0-30-cloud-amd64", (5, 10), UNTOLD, 1500, Some((2, 4))), ["plain", "plain", "plain"]),
        // Amazon's, before XDP and with it.
        (("ena", "2.1.3g", (5, 10), UNTOLD, 1500, Some((1, 8))), ["tc", "no: Driver", "no: Driver"]),
        (("ena", "2.2.0g", (5, 10), UNTOLD, 1500, Some((4, 8))), ["plain", "plain", "plain"]),
        (("ena", "2.12.3g", (5, 10), UNTOLD, 9001, Some((4, 8))), ["tc", "no: Mtu", "plain mtu=3498"]),
        (("ena", "2.12.3g", (5, 15), UNTOLD, 1500, Some((8, 8))), ["tc", "no: Channels", "plain channels=4"]),
        (("ena", "2.13.0g", (6, 1), UNTOLD, 9001, Some((4, 8))), ["tc", "no: Mtu", "plain mtu=3498"]),
        (("ena", "2.13.3g", (6, 1), UNTOLD, 3502, Some((4, 8))), ["tc", "no: Mtu", "plain mtu=3498"]),
        (("ena", "2.13.2g", (6, 12), NO_FEATURES, 1500, Some((8, 8))), ["tc", "no: Channels", "plain channels=4"]),
        // Several buffers from 2.14 on, if the kernel has them.
        (("ena", "2.14.0g", (5, 15), UNTOLD, 9001, Some((4, 8))), ["tc", "no: Mtu", "plain mtu=3498"]),
        (("ena", "2.14.0g", (5, 18), UNTOLD, 9001, Some((4, 8))), ["frags", "frags", "frags"]),
        (("ena", "2.15.0g", (6, 1), UNTOLD, 9001, Some((4, 8))), ["frags", "frags", "frags"]),
        (("ena", "2.15.0g", (6, 1), UNTOLD, 9001, Some((8, 8))), ["tc", "no: Channels", "frags channels=4"]),
        (("ena", "2.16.1g", (6, 12), FRAGS, 9001, Some((16, 32))), ["frags", "frags", "frags"]),
        (("ena", "2.16.1g", (6, 12), NO_FEATURES, 9001, Some((32, 32))), ["tc", "no: Channels", "frags channels=16"]),
        // Queues are shared with the stack from 2.17 on.
        (("ena", "2.17.0g", (6, 12), FRAGS, 9001, Some((8, 8))), ["frags", "frags", "frags"]),
        (("ena", "2.17.2g", (5, 10), UNTOLD, 9001, Some((8, 8))), ["tc", "no: Mtu", "plain mtu=3498"]),
        (("ena", "2.17.2g", (5, 10), UNTOLD, 1500, Some((1, 1))), ["plain", "plain", "plain"]),
        // One that tells of several buffers is believed, and an odd version is taken for the kernel's own.
        (("ena", "7.2.0", (7, 2), FRAGS, 9001, Some((4, 8))), ["frags", "frags", "frags"]),
        (("ena", "2.x.0g", (6, 12), BASIC, 9001, Some((8, 8))), ["tc", "no: Mtu", "plain mtu=3498 channels=4"]),
        (("ena", "2.17.0g", (6, 12), FRAGS, 9001, None), ["frags", "frags", "frags"]),
        ((in_tree.0, in_tree.1, (6, 8), BASIC, 1500, None), ["plain", "plain", "plain"]),
    ];
    for (row, expected) in table {
        assert_eq!(verdicts(*row), *expected, "{row:?}");
    }
}

#[test]
fn other_drivers_are_asked_and_where_they_do_not_tell_tried() {
    #[rustfmt::skip]
    let table: &[(Row, [&str; 3])] = &[
        (("veth", "1.0", (6, 18), FRAGS, 9001, None), ["frags", "frags", "frags"]),
        (("veth", "1.0", (6, 1), UNTOLD, 9001, None), ["frags", "frags", "frags"]),
        (("veth", "1.0", (5, 10), UNTOLD, 1500, None), ["plain", "plain", "plain"]),
        (("veth", "1.0", (5, 10), UNTOLD, 9001, None), ["tc", "no: Mtu", "plain mtu=3498"]),
        // A veth offers nothing while its peer sends by more queues than it receives by.
        (("veth", "1.0", (6, 18), NO_FEATURES, 1500, None), ["tc", "no: Driver", "no: Driver"]),
        (("virtio_net", "1.0.0", (6, 12), FRAGS, 9001, Some((2, 2))), ["frags", "frags", "frags"]),
        (("virtio_net", "1.0.0", (6, 12), BASIC, 9001, Some((2, 2))), ["tc", "no: Mtu", "plain mtu=3498"]),
        (("virtio_net", "1.0.0", (6, 1), UNTOLD, 1500, Some((2, 2))), ["frags", "frags", "frags"]),
        (("virtio_net", "1.0.0", (5, 10), UNTOLD, 1500, Some((2, 2))), ["plain", "plain", "plain"]),
        (("e1000e", "6.12.0", (6, 12), NO_FEATURES, 1500, None), ["tc", "no: Driver", "no: Driver"]),
        (("e1000e", "6.1.0", (6, 1), UNTOLD, 1500, None), ["frags", "frags", "frags"]),
    ];
    for (row, expected) in table {
        assert_eq!(verdicts(*row), *expected, "{row:?}");
    }
}

#[test]
fn generic_and_off_are_only_on_request_and_ask_nobody() {
    let poor: Row = ("ena", "2.1.0g", (5, 10), UNTOLD, 9001, Some((8, 8)));
    let fail = (MtuPolicy::Fail, ChannelPolicy::Fail);
    let of = |ingress| decide(poor, ingress, fail.0, fail.1);
    assert_eq!(of(WantedIngress::XdpGeneric).path, Path::Generic);
    assert_eq!(of(WantedIngress::Tc).path, Path::Tc(None));
    assert_eq!(of(WantedIngress::Tc).reason(), None);
    assert_eq!(
        of(WantedIngress::XdpAuto).ingress(WantedIngress::XdpAuto),
        WantedIngress::Tc
    );
}

#[test]
fn the_reason_says_what_is_and_what_could_be() {
    let row: Row = ("ena", "6.8.0-1024-aws", (6, 8), BASIC, 9001, Some((8, 8)));
    let fail = ChannelPolicy::Fail;
    let native = WantedIngress::XdpNative;
    let mtu = decide(row, WantedIngress::XdpAuto, MtuPolicy::Fail, fail).reason();
    assert_eq!(
        mtu.unwrap(),
        "with native XDP ena 6.8.0-1024-aws takes an MTU of at most 3498, and it is 9001; \
         xdp: Native with mtuPolicy: Lower changes that; the check runs on TC ingress"
    );
    let channels = decide(row, native, MtuPolicy::Lower, fail);
    assert_eq!(channels.lower_mtu, None, "what does not help is not done");
    assert_eq!(
        channels.reason().unwrap(),
        "with native XDP ena 6.8.0-1024-aws takes at most 4 of its 8 channels, and 8 are in use; \
         xdp: Native with channelPolicy: Reduce changes that; the check runs on TC ingress"
    );
}
