//! Addresses are as many as were asked for, and others keep theirs, whatever is interrupted, lost, or
//! read late.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use ec2_sim::Settings;
use eniway_api::{Ipv4Wish, Ipv6Wish, conditions::reason};
use eniway_controller::holders::{Network, Pod};
use proptest::prelude::*;

use super::model::{Case, Model};

fn ipv4() -> impl Strategy<Value = Ipv4Wish> {
    let named = prop::collection::btree_set(100_u8..105, 0..4).prop_map(|last| Ipv4Wish {
        addresses: last
            .into_iter()
            .map(|last| Ipv4Addr::new(10, 0, 0, last))
            .collect(),
        ..Ipv4Wish::default()
    });
    let secondary = (0_u32..4).prop_map(|count| Ipv4Wish {
        secondary_count: Some(count),
        ..Ipv4Wish::default()
    });
    let prefixes = (0_u32..3).prop_map(|count| Ipv4Wish {
        prefix_count: Some(count),
        ..Ipv4Wish::default()
    });
    prop_oneof![named, secondary, prefixes]
}

fn ipv6() -> impl Strategy<Value = Ipv6Wish> {
    (0_u32..3, 0_u32..2).prop_map(|(addresses, prefixes)| Ipv6Wish {
        address_count: Some(addresses),
        prefix_count: Some(prefixes),
    })
}

/// A user changes the wish, or others change the interfaces, and then something goes wrong.
#[derive(Clone, Debug)]
struct Step {
    ipv4: Option<Ipv4Wish>,
    ipv6: Option<Ipv6Wish>,
    hands: Option<bool>,
    rounds: Vec<Option<usize>>,
    loses_answers: bool,
    dies: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (
        prop::option::weighted(0.8, ipv4()),
        prop::option::of(ipv6()),
        prop::option::of(any::<bool>()),
        prop::collection::vec(prop::option::of(0_usize..4), 0..5),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(ipv4, ipv6, hands, rounds, loses_answers, dies)| Step {
            ipv4,
            ipv6,
            hands,
            rounds,
            loses_answers,
            dies,
        })
}

/// One NodeENI in subnet 0, on every second node.
fn case(nodes: usize, seed: u64) -> Case {
    Case {
        node_enis: vec![(vec![0], true, None, true)],
        nodes,
        seed,
    }
}

fn lagging(nodes: usize, seed: u64, seconds: u64) -> Model {
    let settings = Settings {
        read_lag_ms: Duration::from_secs(seconds),
        ..Settings::default()
    };
    Model::with(&case(nodes, seed), settings)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn an_interface_has_what_was_asked_for_last_and_others_keep_theirs(
        nodes in prop::sample::select(vec![1_usize, 3]),
        seed in any::<u64>(),
        lag in prop::sample::select(vec![0_u64, 20]),
        steps in prop::collection::vec(step(), 1..6),
        last in (ipv4(), ipv6()),
    ) {
        let mut model = lagging(nodes, seed, lag);
        let mut theirs = BTreeSet::new();
        for step in &steps {
            if let Some(assigns) = step.hands {
                // Between the look that a lost call sets out from and the read that shows it nothing
                // tells whose is whose.
                model.rest();
                if assigns {
                    theirs.extend(model.assign_by_hand());
                } else {
                    model.unassign_by_hand(&theirs);
                }
                model.pass(Duration::from_secs(lag.max(10)));
            }
            model.wish_addresses(step.ipv4.as_ref(), step.ipv6.as_ref());
            for most in &step.rounds {
                model.loses_answers = step.loses_answers && most.is_some();
                for node in model.nodes() {
                    model.round(&node, *most);
                }
            }
            model.loses_answers = false;
            if step.dies {
                model.crash();
            }
        }
        model.wish_addresses(Some(&last.0), Some(&last.1));
        model.settle();
        model.rest();
        model.check_addresses(&theirs);
        model.check_wishes();
        for node in model.nodes() {
            let plan = model.think(&node);
            prop_assert!(plan.actions.is_empty(), "{}", super::model::said(&plan.actions));
        }
    }
}

#[test]
fn addresses_come_with_the_interface_and_cost_no_further_call() {
    let mut model = Model::new(&case(1, 1));
    model.wish_addresses(
        Some(&Ipv4Wish {
            secondary_count: Some(3),
            ..Ipv4Wish::default()
        }),
        Some(&Ipv6Wish {
            address_count: Some(1),
            ..Ipv6Wish::default()
        }),
    );
    model.settle();
    model.check_addresses(&BTreeSet::new());
    assert_eq!(
        model.calls("AssignPrivateIpAddresses") + model.calls("AssignIpv6Addresses"),
        0
    );
}

#[test]
fn an_address_that_a_pod_uses_is_taken_off_when_the_pod_has_ended() {
    let mut model = Model::new(&case(1, 1));
    let wish = |count| Ipv4Wish {
        secondary_count: Some(count),
        ..Ipv4Wish::default()
    };
    model.wish_addresses(Some(&wish(2)), None);
    model.settle();
    let record = || -> BTreeSet<ipnet::IpNet> {
        let record = model.records.values().next().unwrap();
        record
            .status
            .as_ref()
            .unwrap()
            .ec2
            .as_ref()
            .unwrap()
            .assigned
            .clone()
    };
    let assigned = record();
    assert_eq!(assigned.len(), 2);
    model.pods = vec![Pod {
        namespace: "apps".to_owned(),
        name: "one".to_owned(),
        networks: vec![Network {
            mac: None,
            addresses: assigned.iter().map(ipnet::IpNet::addr).collect(),
        }],
        ..Pod::default()
    }];
    model.wish_addresses(Some(&wish(0)), None);
    for _ in 0..5 {
        model.round("node0", None);
    }
    let ready = {
        let record = model.records.values().next().unwrap();
        record.status.as_ref().unwrap().conditions[0].clone()
    };
    assert_eq!(ready.reason, reason::IN_USE);
    assert!(ready.message.contains("apps/one"), "{}", ready.message);
    assert_eq!(model.calls("UnassignPrivateIpAddresses"), 0);
    model.pods.clear();
    model.settle();
    model.check_addresses(&BTreeSet::new());
}
