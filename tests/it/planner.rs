//! The laws of the planner, kept against the simulated EC2: it converges, then does nothing; order and
//! interruption change nothing; what is not ours stays as it is.

mod model;

use std::collections::BTreeSet;

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
