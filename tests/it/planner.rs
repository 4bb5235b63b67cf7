//! The laws of the planner, kept against the simulated EC2: it converges, then does nothing; order and
//! interruption change nothing; what is not ours stays as it is.

mod addresses;
mod model;

use std::collections::{BTreeMap, BTreeSet};

use eniway_api::mark;
use proptest::prelude::*;

use self::model::{Case, Model};

fn case() -> impl Strategy<Value = Case> {
    let node_eni = (
        prop::sample::subsequence(vec![0_usize, 1, 2, 3], 1..=4),
        any::<bool>(),
        prop::option::of(1_u8..=4),
        any::<bool>(),
    );
    (
        prop::collection::vec(node_eni, 1..=3),
        1_usize..=3,
        any::<u64>(),
    )
        .prop_map(|(node_enis, nodes, seed)| Case {
            node_enis,
            nodes,
            seed,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_converges_and_then_does_nothing(case in case()) {
        let mut model = Model::new(&case);
        model.settle();
        model.check_wishes();
        for node in model.nodes() {
            let actions = model.think(&node).actions;
            prop_assert!(actions.is_empty(), "{}", model::said(&actions));
        }
    }

    #[test]
    fn the_order_of_its_inputs_does_not_matter(case in case()) {
        let model = Model::new(&case);
        let mut reversed = model.clone();
        reversed.declared.reverse();
        for node in model.nodes() {
            let sorted = |model: &Model| {
                let actions = model.think(&node).actions;
                actions.iter().map(ToString::to_string).collect::<BTreeSet<_>>()
            };
            prop_assert_eq!(sorted(&model), sorted(&reversed));
        }
    }

    #[test]
    fn a_crash_after_any_action_changes_nothing_in_the_end(
        case in case(),
        crashes in prop::collection::vec(0_usize..4, 1..12),
    ) {
        let mut model = Model::new(&case);
        for after in crashes {
            for node in model.nodes() {
                model.round(&node, Some(after));
            }
            model.crash();
        }
        model.settle();
        model.check_wishes();
        model.check_others(&Model::new(&case));
    }

    #[test]
    fn what_is_no_longer_wanted_goes_and_nothing_else(case in case(), after in 0_usize..6) {
        let mut model = Model::new(&case);
        for node in model.nodes() {
            model.round(&node, Some(after));
        }
        model.declared.clear();
        model.settle();
        prop_assert_eq!(model.ours().len(), 0);
        prop_assert_eq!(model.records.len(), 0);
        model.check_others(&Model::new(&case));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn tags_changed_by_hand_come_back_and_others_stay(
        case in case(),
        changes in prop::collection::vec((hand_changed(), any::<bool>()), 1..4),
    ) {
        let mut model = Model::new(&case);
        model.settle();
        let mut expected = model.tags();
        for (eni, tags) in &mut expected {
            for (key, changed) in &changes {
                model.retag(eni, key, changed.then_some("theirs"));
            }
            model.retag(eni, "owner", Some("them"));
            tags.insert("owner".to_owned(), "them".to_owned());
        }
        model.crash();
        model.settle();
        prop_assert_eq!(model.tags(), expected);
        model.check_wishes();
    }

    #[test]
    fn an_interface_bears_the_tags_last_asked_for_whatever_was_interrupted(
        case in case(),
        steps in prop::collection::vec((user_tags(), 0_usize..3), 1..6),
    ) {
        let mut model = Model::new(&case);
        model.settle();
        for eni in model.tags().keys() {
            model.retag(eni, "d", Some("theirs"));
        }
        for (tags, after) in &steps {
            model.wish_tags(tags);
            for node in model.nodes() {
                model.round(&node, Some(*after));
            }
            model.crash();
        }
        model.settle();
        let (mut expected, _) = steps.last().unwrap().clone();
        expected.insert("d".to_owned(), "theirs".to_owned());
        for mut tags in model.tags().into_values() {
            tags.retain(|key, _| ["team", "a", "b", "d"].contains(&key.as_str()));
            prop_assert_eq!(&tags, &expected);
        }
    }

    #[test]
    fn a_node_is_never_without_an_interface_while_its_subnet_changes(
        nodes in 1_usize..=3,
        seed in any::<u64>(),
        crashes in prop::collection::vec(prop::option::of(0_usize..3), 1..40),
    ) {
        // Subnets 0 and 2 are in one zone, 1 and 3 in the other.
        let mut model = Model::new(&Case { node_enis: vec![(vec![0, 1], true, None, true)], nodes, seed });
        model.settle();
        let served = model.served();
        prop_assert_eq!(served.len(), nodes);
        model.wish_subnets(&[2, 3]);
        for after in crashes {
            for node in model.nodes() {
                model.round(&node, after);
                prop_assert_eq!(&model.served(), &served);
            }
            if after.is_some() {
                model.crash();
            }
        }
        model.settle();
        prop_assert_eq!(&model.served(), &served);
        model.check_wishes();
    }

    #[test]
    fn changed_subnets_converge_also_where_there_is_no_room_for_both(
        node_enis in 1_usize..=8,
        seed in any::<u64>(),
        crashes in prop::collection::vec(0_usize..6, 0..6),
    ) {
        // m5.4xlarge holds eight interfaces; one is the primary.
        let node_enis = vec![(vec![0, 1], true, None, true); node_enis];
        let mut model = Model::new(&Case { node_enis, nodes: 1, seed });
        model.settle();
        let before = model.ours().len();
        model.wish_subnets(&[2, 3]);
        for after in crashes {
            model.round("node0", Some(after));
            model.crash();
        }
        model.settle();
        model.check_wishes();
        prop_assert_eq!(model.ours().len(), before);
    }

    #[test]
    fn retained_interfaces_stay_in_ec2_whenever_the_controller_dies(
        case in case(),
        crashes in prop::collection::vec(0_usize..3, 0..10),
    ) {
        let mut model = Model::new(&case);
        model.settle();
        let before: Vec<_> = model.tags().into_keys().collect();
        // The wish to keep them comes with the end of the NodeENIs.
        model.retain_and_delete();
        for after in crashes {
            for node in model.nodes() {
                model.round(&node, Some(after));
            }
            model.crash();
        }
        model.settle();
        prop_assert_eq!(model.records.len(), 0);
        let retained = model.tags();
        prop_assert_eq!(retained.keys().cloned().collect::<Vec<_>>(), before);
        for tags in retained.values() {
            prop_assert_eq!(&tags[mark::TAG_ROLE], "retained");
        }
        prop_assert!(model.ours().iter().all(|(_, place)| place.is_none()));
    }

    #[test]
    fn an_interface_whose_marks_are_gone_is_deleted_with_its_wish(case in case()) {
        let mut model = Model::new(&case);
        model.settle();
        for eni in model.tags().keys() {
            model.retag(eni, mark::TAG_ATTACHMENT, None);
            model.retag(eni, mark::TAG_CLUSTER_UID, None);
        }
        model.declared.clear();
        model.crash();
        model.settle();
        prop_assert_eq!(model.tags().len(), 0);
    }
}

/// A tag of ours, or the user's.
fn hand_changed() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        mark::TAG_CLUSTER_UID,
        mark::TAG_ATTACHMENT,
        mark::TAG_ROLE,
        mark::peer::TAG_NAME,
        "team",
    ])
}

fn user_tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop::sample::select(vec!["team", "a", "b"]).prop_map(str::to_owned);
    let value = prop::sample::select(vec!["1", "2"]).prop_map(str::to_owned);
    prop::collection::btree_map(key, value, 0..4)
}

#[test]
fn a_lost_node_has_ec2_asked_for_its_instance_at_once() {
    let mut model = Model::new(&Case {
        node_enis: vec![(vec![0], true, None, true)],
        nodes: 1,
        seed: 1,
    });
    model.settle();
    assert_eq!(model.ours().len(), 1);
    model.lose("node0");
    let actions = model.think("node0").actions;
    assert_eq!(model::said(&actions), "look at i-00000000");
    // The model reads everything only when it begins: looks have to do.
    model.settle();
    assert_eq!((model.ours().len(), model.records.len()), (0, 0));
}

#[test]
fn a_node_that_comes_back_keeps_its_interface() {
    let mut model = Model::new(&Case {
        node_enis: vec![(vec![0], true, None, true)],
        nodes: 1,
        seed: 1,
    });
    model.settle();
    let before = model.ours();
    let node = model.drop_node("node0");
    model.settle();
    assert_eq!(model.ours(), before, "a deleted node is not gone");
    model.add_node(node);
    model.settle();
    assert_eq!(model.ours(), before);
    assert!(model.think("node0").actions.is_empty());
}

#[test]
fn a_name_that_nothing_bears_is_looked_for_no_more_often_than_its_pace_allows() {
    let model = Model::new(&Case {
        node_enis: vec![(vec![9], true, None, true)],
        nodes: 1,
        seed: 1,
    });
    let plan = model.think("node0");
    assert_eq!(
        model::said(&plan.actions),
        "",
        "the catalog has just been read"
    );
    assert!(plan.wake.is_some());
}
