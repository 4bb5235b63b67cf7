//! Laws that hold after any calls whatever.

use std::collections::{BTreeMap, BTreeSet};

use ec2_sim::{Interface, Settings, World};
use proptest::prelude::*;

use crate::bench::{A, B, BIG, Bench, I, SIX, STOPPED, TINY};

/// A call on the `n`th thing there is.
#[derive(Clone, Debug)]
enum Step {
    Create {
        subnet: &'static str,
        extra: String,
    },
    Attach {
        eni: prop::sample::Index,
        instance: &'static str,
        card: u32,
        index: u32,
    },
    Detach {
        eni: prop::sample::Index,
        force: bool,
    },
    Delete {
        eni: prop::sample::Index,
    },
    Assign {
        eni: prop::sample::Index,
        what: &'static str,
    },
    Unassign {
        eni: prop::sample::Index,
    },
    Instance {
        action: &'static str,
        instance: &'static str,
    },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let subnet = || prop::sample::select(vec![A, B, TINY, SIX]);
    let instance = || prop::sample::select(vec![I, STOPPED, BIG]);
    let eni = any::<prop::sample::Index>;
    let extra = prop_oneof![
        Just(String::new()),
        (1..6_u8).prop_map(|count| format!("SecondaryPrivateIpAddressCount={count}")),
        (1..3_u8).prop_map(|count| format!("Ipv4PrefixCount={count}")),
        Just("Ipv6AddressCount=2".to_owned()),
        (0..255_u8).prop_map(|host| format!("PrivateIpAddress=10.0.1.{host}")),
        (0..3_u8).prop_map(|token| format!("ClientToken=t{token}")),
    ];
    prop_oneof![
        4 => (subnet(), extra).prop_map(|(subnet, extra)| Step::Create { subnet, extra }),
        4 => (eni(), instance(), 0..3_u32, 0..4_u32).prop_map(|(eni, instance, card, index)| Step::Attach { eni, instance, card, index }),
        2 => (eni(), any::<bool>()).prop_map(|(eni, force)| Step::Detach { eni, force }),
        1 => eni().prop_map(|eni| Step::Delete { eni }),
        2 => (eni(), prop::sample::select(vec!["SecondaryPrivateIpAddressCount=2", "Ipv4PrefixCount=1"]))
            .prop_map(|(eni, what)| Step::Assign { eni, what }),
        1 => eni().prop_map(|eni| Step::Unassign { eni }),
        1 => (prop::sample::select(vec!["StartInstances", "StopInstances", "TerminateInstances"]), instance())
            .prop_map(|(action, instance)| Step::Instance { action, instance }),
        2 => (0..300_u64).prop_map(Step::Wait),
    ]
}

fn pick<'a>(world: &'a World, eni: &prop::sample::Index) -> &'a Interface {
    let all: Vec<&Interface> = world.interfaces().collect();
    all[eni.index(all.len())]
}

fn take(bench: &mut Bench, step: &Step) {
    let world = &bench.world;
    let call = match step {
        Step::Wait(milliseconds) => return bench.wait(*milliseconds),
        Step::Create { subnet, extra } => {
            format!("CreateNetworkInterface SubnetId={subnet} {extra}")
        }
        Step::Attach {
            eni,
            instance,
            card,
            index,
        } => format!(
            "AttachNetworkInterface NetworkInterfaceId={} InstanceId={instance} DeviceIndex={index} NetworkCardIndex={card}",
            pick(world, eni).id
        ),
        Step::Detach { eni, force } => match &pick(world, eni).attachment {
            Some(attachment) => format!(
                "DetachNetworkInterface AttachmentId={} Force={force}",
                attachment.id
            ),
            None => return,
        },
        Step::Delete { eni } => format!(
            "DeleteNetworkInterface NetworkInterfaceId={}",
            pick(world, eni).id
        ),
        Step::Assign { eni, what } => format!(
            "AssignPrivateIpAddresses NetworkInterfaceId={} {what}",
            pick(world, eni).id
        ),
        Step::Unassign { eni } => {
            let interface = pick(world, eni);
            match interface.addresses.last() {
                Some(address) => format!(
                    "UnassignPrivateIpAddresses NetworkInterfaceId={} PrivateIpAddress.1={address}",
                    interface.id
                ),
                None => return,
            }
        }
        Step::Instance { action, instance } => format!("{action} InstanceId.1={instance}"),
    };
    bench.say(&call);
}

/// What is true of every world.
fn check(world: &World) {
    let mut places = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let mut macs = BTreeSet::new();
    let mut taken: BTreeMap<_, usize> = BTreeMap::new();
    for interface in world.interfaces() {
        let subnet = world.subnet(&interface.subnet).unwrap();
        assert!(macs.insert(&interface.mac), "one MAC address twice");
        for address in &interface.addresses {
            assert!(addresses.insert(*address), "{address} has two owners");
            assert!(
                subnet.pool.cidr().contains(address),
                "{address} lies outside its subnet"
            );
        }
        for prefix in &interface.prefixes {
            for bits in prefix.network().to_bits()..=prefix.broadcast().to_bits() {
                let address = bits.into();
                assert!(
                    addresses.insert(address),
                    "{address} of {prefix} has two owners"
                );
            }
        }
        *taken.entry(&interface.subnet).or_default() +=
            interface.addresses.len() + 16 * interface.prefixes.len();
        let Some(attachment) = &interface.attachment else {
            continue;
        };
        let instance = world.instance(&attachment.instance).unwrap();
        assert!(
            places.insert((&attachment.instance, attachment.slot)),
            "two interfaces at one place"
        );
        assert_eq!(
            instance.interfaces.get(&attachment.slot),
            Some(&interface.id),
            "both sides tell the same"
        );
        assert_eq!(instance.zone, interface.zone);
    }
    for instance in world.instances() {
        assert!(instance.interfaces.len() <= instance.limits.max_interfaces as usize);
        for (slot, eni) in &instance.interfaces {
            let attachment = world.interface(eni).unwrap().attachment.as_ref().unwrap();
            assert_eq!(
                (&attachment.instance, attachment.slot),
                (&instance.id, *slot)
            );
        }
    }
    for subnet in world.subnets() {
        let usable = subnet.pool.cidr().hosts().count() + 2 - 5;
        assert_eq!(
            subnet.pool.free() + taken.get(&subnet.id).copied().unwrap_or(0),
            usable,
            "addresses are neither lost nor made"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_twice_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::with(Settings::default());
        for step in &steps {
            take(&mut bench, step);
            check(&bench.world);
        }
    }

    #[test]
    fn readers_catch_up(steps in prop::collection::vec(step(), 1..40), lag in 0..500_u64) {
        let lag = std::time::Duration::from_millis(lag);
        let mut bench = Bench::with(Settings { read_lag_ms: lag, ..Settings::default() });
        for step in &steps {
            take(&mut bench, step);
        }
        bench.wait(10_000);
        let body = bench.ask("DescribeNetworkInterfaces").unwrap();
        let told: BTreeSet<&str> = crate::bench::all(&body, "networkInterfaceId").into_iter().collect();
        let true_ones: BTreeSet<&str> = bench.world.interfaces().map(|interface| interface.id.as_str()).collect();
        prop_assert_eq!(told, true_ones);
    }
}
