//! On which nodes and in which subnets interfaces come to be, when neither is named.

use serde_json::json;

use super::{SUBNET_A, SUBNET_B, rig::Rig};

#[test]
fn nodes_are_found_by_expressions_and_subnets_and_groups_by_tags() {
    Rig::new(3).run(async |rig| {
        let controller = rig.controller();
        let wish = json!({
            "nodeSelectorExpressions": [
                {"key": "ng", "operator": "Exists"},
                {"key": "name", "operator": "NotIn", "values": ["node3"]},
            ],
            "subnetSelector": {"tags": {"tier": "data"}},
            "subnetPolicy": "MatchZone",
            "securityGroupSelector": {"tags": {"tier": "data"}},
        });
        rig.wish("selected", &wish).await;
        rig.until("it names the selector that finds nothing", |state| {
            state.reason("selected") == "SubnetNotFound"
        })
        .await;
        for resource in [SUBNET_A, SUBNET_B, "sg-00000001"] {
            rig.tag(resource, "tier", "data");
        }
        rig.until("node1 and node2 have one", |state| state.attached() == 2)
            .await;
        let mut subnets: Vec<_> = rig.ours().iter().map(|e| e.subnet.to_string()).collect();
        subnets.sort();
        assert_eq!(subnets, [SUBNET_A, SUBNET_B], "each in its node's zone");
        assert_eq!(rig.state().await.status("selected").nodes, 2);
        controller.stop().await;
    });
}
