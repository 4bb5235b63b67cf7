//! One node of a fleet fails for ever.

use std::time::Duration;

use ec2_sim::{Effect, Fault};

use super::{Fleet, SUBNETS, bound, instance, on_a_paused_clock};

const HOUR: Duration = Duration::from_secs(3_600);
/// What EC2 says, and how many steps fit into an hour: each is twice the one before up to a longest
/// one (300 s, 60 s, 600 s), and may be shortened by a fifth.
const REFUSALS: [(&str, u64); 3] = [
    ("AttachmentLimitExceeded", 26),
    ("InternalError", 83),
    ("UnauthorizedOperation", 11),
];

/// What EC2 refuses one node is asked for once a step, and no other node waits for it.
#[test]
fn a_node_that_fails_for_ever_costs_a_call_a_step_and_delays_nobody() {
    for (code, steps) in REFUSALS {
        on_a_paused_clock(fail(code, steps));
    }
}

async fn fail(code: &str, steps: u64) {
    let fleet = Fleet::start(100).await;
    let refusal = Effect::Error {
        code: code.to_owned(),
        message: String::new(),
        status: None,
    };
    let fault = Fault::always("AttachNetworkInterface", refusal).with("InstanceId", &instance(0));
    fleet.door.world().add_fault(fault);
    fleet.wish();
    let others = fleet.interfaces - SUBNETS;
    let took = fleet.until_attached(others).await.as_secs_f64();
    let bound = bound(fleet.interfaces);
    assert!(
        took - 5.0 <= 1.05 * bound,
        "{code}: {took} s, bound {bound} s"
    );

    let calls = fleet.calls_in(HOUR).await;
    assert_eq!(fleet.attached(), others);
    let failing = SUBNETS as u64;
    let attach = calls.get("AttachNetworkInterface").copied();
    assert!(attach.unwrap_or(0) <= failing * steps, "{code}: {calls:?}");
    let changing = calls
        .keys()
        .filter(|action| !action.starts_with("Describe"));
    assert_eq!(changing.count(), 1, "{code}: {calls:?}");
    // Two each minute, subnets and groups each fifth, and three looks at most for each of what failed.
    let reads: u64 = calls.values().sum::<u64>() - attach.unwrap_or(0);
    assert!(
        reads <= 60 * 2 + 3 * 12 + failing * 2 * 3,
        "{code}: {calls:?}"
    );
    fleet.stop().await;
}
