//! A fleet loses its interfaces at once.

use super::{Fleet, NAME, bound, on_a_paused_clock};

/// All in parallel, at the pace of the bucket of DetachNetworkInterface; two calls an interface, none
/// refused.
#[test]
fn a_fleet_is_cleaned_up_as_fast_as_ec2_allows() {
    on_a_paused_clock(async {
        let fleet = Fleet::start(500).await;
        fleet.wish();
        fleet.until_attached(fleet.interfaces).await;
        fleet.door.world().reset_counters();
        fleet.api.store().unwish(NAME);
        let gone = |fleet: &Fleet| {
            let store = fleet.api.store();
            store.records().next().is_none() && store.node_enis().next().is_none()
        };
        let took = fleet.until(gone).await.as_secs_f64();
        let (calls, bound) = (fleet.calls(), bound(fleet.interfaces));
        println!(
            "{} interfaces: gone after {took:.1} s of {bound:.1} s, {calls:?}",
            fleet.interfaces
        );
        // What EC2 takes to detach, and to show it, is not the bound's.
        assert!(took - 10.0 <= 1.05 * bound, "{took} s, bound {bound} s");
        assert_eq!(fleet.throttled(), 0, "our buckets are smaller than EC2's");
        for action in ["DetachNetworkInterface", "DeleteNetworkInterface"] {
            assert_eq!(calls[action], fleet.interfaces as u64, "{action}");
        }
        fleet.stop().await;
    });
}
