//! The fewest calls with which the work can be done: no more are made. Needs root.

use serde_json::json;

use super::rig::{Rig, Running};
use super::{SUBNET_A, SUBNET_B, spec};

/// Whole reads of EC2, one in each minute of the controller's clock.
const MINUTES: u64 = 10;

/// All calls so far, and those that change something.
fn calls(rig: &Running) -> (u64, u64) {
    let world = rig.door.world();
    let (mut all, mut changing) = (0, 0);
    for (action, codes) in world.counters() {
        let count: u64 = codes.values().sum();
        all += count;
        if !action.starts_with("Describe") {
            changing += count;
        }
    }
    (all, changing)
}

/// What two interfaces cost, and what a controller that has nothing to do costs afterwards.
fn costs(source_dest_check: bool, calls_for_each: u64) {
    Rig::new(2).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_A, SUBNET_B]);
        wish["subnetPolicy"] = json!("MatchZone");
        wish["sourceDestCheck"] = json!(source_dest_check);
        rig.wish("floor", &wish).await;
        rig.until("both are attached, and the status says so", |state| {
            state.attached() == 2 && state.status("floor").attached == 2
        })
        .await;
        let reads = || rig.calls("DescribeInstances");
        // The last change of an interface may follow its attachment.
        let settled = reads() + 2;
        rig.until("EC2 was read again", |_| reads() >= settled)
            .await;

        let (before, changing) = calls(rig);
        assert_eq!(changing, 2 * calls_for_each);
        let last = reads() + MINUTES;
        rig.until("many minutes pass", |_| reads() >= last).await;
        let (after, changing) = calls(rig);
        assert_eq!(changing, 2 * calls_for_each, "nothing is changed twice");
        assert!(
            after - before <= 3 * (reads() + MINUTES - last),
            "{} calls in {MINUTES} quiet minutes",
            after - before
        );
        assert_eq!(rig.calls("DescribeAddresses"), 0, "nobody asks for one");
        controller.stop().await;
    });
}

#[test]
fn an_interface_costs_three_calls_and_a_quiet_minute_three_at_most() {
    costs(true, 3);
}

#[test]
fn without_the_source_dest_check_an_interface_costs_four_calls() {
    costs(false, 4);
}
