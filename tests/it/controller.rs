//! The whole controller against a real API server and the simulated EC2. Needs root.

mod addresses;
mod adoption;
mod blast;
mod columns;
mod drift;
mod elastic_ips;
mod ena_queues;
mod events;
mod faults;
mod floor;
mod hands;
mod holders;
mod kill;
mod lifecycle;
mod limits;
mod max_pods;
mod metrics;
mod neighbours;
mod orphans;
mod placement;
mod pool;
mod process;
mod readiness;
mod refusals;
mod rig;
mod routes;
mod skipped;
mod switch;
mod world;

const SUBNET_A: &str = "subnet-0000000a";
const SUBNET_B: &str = "subnet-0000000b";
/// In node1's zone, with eleven addresses.
const SUBNET_SMALL: &str = "subnet-0000000e";

/// A route table, in which `10.99.0.0/16` leads to a gateway.
const TABLE: &str = "rtb-0000000a";

fn spec(subnets: &[&str]) -> serde_json::Value {
    serde_json::json!({
        "nodeSelector": {"ng": "multi-eni"},
        "subnetIDs": subnets,
        "securityGroupNames": ["multus"],
    })
}
