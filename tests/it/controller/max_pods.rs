//! Where the VPC CNI has fewer addresses than the kubelet allows pods, that is told with the number.

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    SUBNET_B,
    rig::{Rig, Running, State},
    spec,
};

/// The kubelet says how many pods it allows.
async fn allow(rig: &Running, node: &str, pods: u32) {
    let nodes: Api<Node> = Api::all(rig.client.clone());
    let patch = json!({"status": {"capacity": {"pods": pods.to_string()}}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    nodes.patch_status(node, &params, &patch).await.unwrap();
}

fn told(state: &State) -> Option<String> {
    let conditions = state.status("first").conditions;
    let told = conditions
        .into_iter()
        .find(|one| one.type_ == "MaxPodsTooHigh");
    told.map(|told| told.message)
}

#[test]
fn a_kubelet_that_allows_too_many_pods_is_named_with_the_number_that_fits() {
    Rig::new(1).run(async |rig| {
        allow(rig, "node1", 29).await;
        let controller = rig.controller();
        rig.wish("first", &spec(&[SUBNET_B])).await;
        rig.until("the number is told", |state| {
            told(state).is_some_and(|text| text.contains("node1") && text.contains("--max-pods=20"))
        })
        .await;
        rig.wish("second", &spec(&[SUBNET_B])).await;
        rig.until("a second interface takes as many again", |state| {
            told(state).is_some_and(|text| text.contains("--max-pods=11"))
        })
        .await;
        allow(rig, "node1", 11).await;
        rig.until("nothing is told of a number that fits", |state| {
            told(state).is_none()
        })
        .await;
        // As with prefixes, or another CNI.
        allow(rig, "node1", 110).await;
        rig.unwish("second").await;
        rig.until("the second is gone", |state| state.records.len() == 1)
            .await;
        let reads = rig.calls("DescribeInstances") + 2;
        rig.until("EC2 was read again", |_| {
            rig.calls("DescribeInstances") >= reads
        })
        .await;
        assert_eq!(told(&rig.state().await), None);
        controller.stop().await;
    });
}
