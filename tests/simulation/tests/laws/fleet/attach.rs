//! A fleet gets its interfaces, and then nothing happens.

use std::time::Duration;

use super::{Calls, Fleet, SUBNETS, bound, number, on_a_paused_clock};

const QUIET: Duration = Duration::from_secs(600);

/// At the pace that the share of EC2's buckets gives, three calls an interface, none refused; and
/// nothing but the clock's reads when all is well.
#[test]
fn a_fleet_is_attached_as_fast_as_ec2_allows() {
    for nodes in [100, 1_000] {
        println!("{}", on_a_paused_clock(attach(nodes)));
    }
}

/// What it cost, for the reader.
async fn attach(nodes: usize) -> String {
    let fleet = Fleet::start(nodes).await;
    let version = fleet.api.store().writes();
    fleet.wish();
    let took = fleet.until_attached(fleet.interfaces).await.as_secs_f64();
    let (calls, throttled) = (fleet.calls(), fleet.throttled());
    let writes = fleet.api.store().writes() - version;
    // The last statuses are written.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let quiet = fleet.calls_in(QUIET).await;

    let (interfaces, bound) = (fleet.interfaces, bound(fleet.interfaces));
    let told = format!(
        "{nodes} × {SUBNETS}: {took:.1} s of {bound:.1} s ({:.3}), {:.2} writes an interface, {calls:?}, quiet {quiet:?}",
        took / bound,
        f64::from(u32::try_from(writes).unwrap()) / number(interfaces),
    );
    // What EC2 takes to attach is not the bound's.
    assert!(took - 5.0 <= 1.05 * bound, "{took} s, bound {bound} s");
    assert_eq!(throttled, 0, "our buckets are smaller than EC2's");
    for action in [
        "CreateNetworkInterface",
        "AttachNetworkInterface",
        "ModifyNetworkInterfaceAttribute",
    ] {
        assert_eq!(calls[action], interfaces as u64, "{action}");
    }
    // Looks at what is being attached are shared: a few at once, then one in two seconds.
    let looks = calls["DescribeNetworkInterfaces"];
    assert!(
        number(usize::try_from(looks).unwrap()) <= took / 2.0 + 20.0,
        "{looks} looks in {took} s"
    );
    let changing = |calls: &Calls| {
        let mut names = calls.keys();
        names.any(|action| !action.starts_with("Describe"))
    };
    assert!(!changing(&quiet), "{quiet:?}");
    // A whole read a minute; subnets and groups each fifth.
    let reads: u64 = quiet.values().sum();
    assert!(reads <= 10 * 2 + 6, "{quiet:?}");
    fleet.stop().await;
    told
}
