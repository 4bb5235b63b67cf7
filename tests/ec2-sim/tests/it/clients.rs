//! What a process sees of itself: who is calling, and how often.

use crate::bench::{A, Bench, all};

#[test]
fn the_caller_has_an_identity() {
    let mut bench = Bench::instant();
    let body = bench.ask("GetCallerIdentity Version=2011-06-15").unwrap();
    assert!(
        body.contains(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
        ),
        "{body}"
    );
    assert_eq!(all(&body, "Account"), ["123456789012"]);
}

#[test]
fn calls_are_counted_by_action_and_code() {
    let mut bench = Bench::instant();
    bench.create(A);
    bench.create(A);
    bench.say("DeleteNetworkInterface NetworkInterfaceId=eni-0000dead");
    let counters = bench.world.counters();
    assert_eq!(counters["CreateNetworkInterface"]["OK"], 2);
    assert_eq!(
        counters["DeleteNetworkInterface"]["InvalidNetworkInterfaceID.NotFound"],
        1
    );
    bench.world.reset_counters();
    assert!(bench.world.counters().is_empty());
}

#[test]
fn the_same_seed_gives_the_same_names() {
    assert_eq!(Bench::instant().create(A), Bench::instant().create(A));
}
