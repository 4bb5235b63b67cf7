//! Nodes that can have no interface are left out, and the NodeENI says so. Needs root.

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{SUBNET_B, rig::Rig, spec};

#[test]
fn nodes_that_can_have_no_interface_are_counted_and_left_alone() {
    Rig::new(5).run(async |rig| {
        let nodes: Api<Node> = Api::all(rig.client.clone());
        let be = async |name: &str, kind: &str| {
            let labels = json!({"eks.amazonaws.com/compute-type": kind});
            let patch = json!({"metadata": {"labels": labels}});
            let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
            nodes.patch(name, &params, &patch).await.unwrap();
        };
        // node1, node3 and node5 are in the subnet's zone.
        be("node3", "auto").await;
        for other in ["node2", "node4"] {
            be(other, "fargate").await;
        }
        let controller = rig.controller();
        rig.wish("some", &spec(&[SUBNET_B])).await;
        rig.until("two have one", |state| state.attached() == 2)
            .await;
        rig.until("it counts the others", |state| {
            let says = "3 nodes are skipped: EKS Auto Mode (1), Fargate (2)";
            let conditions = state.status("some").conditions;
            conditions.iter().any(|one| one.message.ends_with(says))
        })
        .await;
        assert_eq!(rig.state().await.status("some").nodes, 2);
        for node in ["node1", "node5"] {
            rig.unlabel(node).await;
        }
        rig.until("nobody is left", |state| {
            let none = state.reason("some") == "NoMatchingNodes";
            none && state.records.is_empty()
        })
        .await;
        controller.stop().await;
    });
}
