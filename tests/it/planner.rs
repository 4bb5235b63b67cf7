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
