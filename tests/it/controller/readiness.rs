//! What a node says of its interfaces: a label for each NodeENI, and a start-up taint that goes once.
//! Needs root.

use std::time::Duration;

use eniway_api::{NodeEniAttachment, mark};
use eniway_controller::{
    Config,
    desired::Taint,
    kubernetes::{ApiServer, Kubernetes as _},
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    SUBNET_B,
    process::config,
    rig::{Rig, Running},
    spec,
};

const LABEL: &str = "ready.eniway.io/first";

impl Running {
    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// The node bears these taints and no other.
    async fn taint(&self, name: &str, keys: &[&str]) {
        let taints: Vec<_> = keys
            .iter()
            .map(|key| json!({"key": key, "effect": "NoSchedule"}))
            .collect();
        let patch = json!({"spec": {"taints": taints}});
        self.merge(name, &patch).await;
    }

    async fn merge(&self, name: &str, patch: &Value) {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        self.nodes().patch(name, &params, &patch).await.unwrap();
    }

    async fn taints(&self, name: &str) -> Vec<String> {
        let node = self.nodes().get(name).await.unwrap();
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        taints.into_iter().map(|taint| taint.key).collect()
    }

    async fn until_node(&self, name: &str, what: &str, holds: impl Fn(&Node) -> bool) {
        for _ in 0..600 {
            if holds(&self.nodes().get(name).await.unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "never: {what}\n{:#?}",
            self.nodes().get(name).await.unwrap()
        );
    }

    async fn until_untainted(&self, name: &str) {
        self.until_node(name, "the start-up taint goes", |node| !tainted(node))
            .await;
    }

    /// What the node's agent writes into its record.
    async fn agent_says(&self, phase: &str) {
        self.agent_writes(&json!({"phase": phase})).await;
    }

    async fn agent_writes(&self, node: &Value) {
        let records: Api<NodeEniAttachment> = Api::all(self.client.clone());
        let agent = PatchParams::apply(mark::AGENT).force();
        for name in self.state().await.records.keys() {
            let body = json!({"apiVersion": "networking.k8s.aws/v1alpha1", "kind": "NodeENIAttachment",
                "metadata": {"name": name}, "status": {"node": node}});
            let patch = Patch::Apply(&body);
            records.patch_status(name, &agent, &patch).await.unwrap();
        }
    }

    async fn until_record_says(&self, reason: &str) {
        self.until(reason, |state| {
            let says = |record: &NodeEniAttachment| {
                let status = record.status.clone().unwrap_or_default();
                status.conditions.iter().any(|one| one.reason == reason)
            };
            !state.records.is_empty() && state.records.values().all(says)
        })
        .await;
    }
}

fn tainted(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.is_some_and(|taints| taints.iter().any(|one| one.key == mark::TAINT_NOT_READY))
}

fn labelled(node: &Node) -> bool {
    node.labels()
        .get(LABEL)
        .is_some_and(|value| value == "true")
}

#[test]
fn the_start_up_taint_goes_when_the_interface_is_ready_and_never_comes_back() {
    Rig::new(2).run(async |rig| {
        for node in ["node1", "node2"] {
            let taints = ["theirs", mark::TAINT_NOT_READY, "more"];
            rig.taint(node, &taints).await;
        }
        rig.wish("first", &spec(&[SUBNET_B])).await;
        let controller = rig.controller();
        // The subnet is not in its zone: nothing will come.
        rig.until_untainted("node2").await;
        for (phase, reason) in [(None, "AgentSilent"), (Some("Failed"), "NodeFailed")] {
            if let Some(phase) = phase {
                rig.agent_says(phase).await;
            }
            rig.until_record_says(reason).await;
            let node = rig.nodes().get("node1").await.unwrap();
            assert!(tainted(&node) && !labelled(&node), "{reason}");
        }
        rig.agent_says("Ready").await;
        rig.until_node("node1", "it is ready", |node| {
            !tainted(node) && labelled(node)
        })
        .await;
        for node in ["node1", "node2"] {
            assert_eq!(rig.taints(node).await, ["theirs", "more"]);
        }
        rig.agent_says("Failed").await;
        rig.until_node("node1", "the label follows", |node| !labelled(node))
            .await;
        rig.agent_says("InPod").await;
        rig.until_node("node1", "the label is back", labelled).await;
        rig.unwish("first").await;
        rig.until_node("node1", "the label goes with the NodeENI", |node| {
            !labelled(node)
        })
        .await;
        assert_eq!(rig.taints("node1").await, ["theirs", "more"]);
        controller.stop().await;
    });
}

#[test]
fn a_node_to_which_nothing_will_come_loses_its_taint_at_once() {
    Rig::new(1).run(async |rig| {
        rig.node("lone", None).await;
        rig.node("far", Some("azure:///somewhere")).await;
        rig.wish("first", &spec(&[SUBNET_B])).await;
        for node in ["node1", "lone", "far"] {
            rig.taint(node, &[mark::TAINT_NOT_READY]).await;
        }
        let young = "node.cloudprovider.kubernetes.io/uninitialized";
        rig.node("young", None).await;
        rig.taint("young", &[young, mark::TAINT_NOT_READY]).await;
        let controller = rig.controller();
        rig.until_untainted("lone").await;
        rig.until_untainted("far").await;
        rig.until_record_says("AgentSilent").await;
        assert_eq!(rig.taints("node1").await, [mark::TAINT_NOT_READY]);
        assert_eq!(rig.taints("young").await, [young, mark::TAINT_NOT_READY]);
        rig.taint("young", &[mark::TAINT_NOT_READY]).await;
        rig.until_untainted("young").await;
        controller.stop().await;
    });
}

#[test]
fn a_taint_that_came_meanwhile_is_not_lost() {
    Rig::new(1).run(async |rig| {
        let server = ApiServer::new(rig.client.clone(), "test");
        let ours = [Taint {
            index: 0,
            key: mark::TAINT_NOT_READY.to_owned(),
            effect: "NoSchedule".to_owned(),
        }];
        let uid = rig.nodes().get("node1").await.unwrap().uid().unwrap();
        rig.taint("node1", &["meanwhile", mark::TAINT_NOT_READY])
            .await;
        let refused = server.untaint("node1", &uid, &ours).await.unwrap_err();
        assert!(refused.is_outdated(), "{refused}");
        assert_eq!(
            rig.taints("node1").await,
            ["meanwhile", mark::TAINT_NOT_READY]
        );

        rig.taint("node1", &[mark::TAINT_NOT_READY, "meanwhile"])
            .await;
        let refused = server.untaint("node1", "another", &ours).await.unwrap_err();
        assert!(refused.is_outdated(), "{refused}");
        let labels = [(LABEL.to_owned(), true)].into();
        let refused = server
            .label_node("node1", "another", &labels)
            .await
            .unwrap_err();
        assert!(refused.is_outdated(), "{refused}");

        let node = server.untaint("node1", &uid, &ours).await.unwrap();
        assert!(node.taints.is_empty());
        assert_eq!(rig.taints("node1").await, ["meanwhile"]);
    });
}

#[test]
fn a_node_on_which_a_program_may_have_all_memory_is_tainted_until_it_may_not() {
    Rig::new(1).run(async |rig| {
        rig.wish("first", &spec(&[SUBNET_B])).await;
        let controller = rig.controller();
        rig.until_record_says("AgentSilent").await;
        let bound = json!({"phase": "Vfio", "dpdk": {"noIOMMU": true}});
        // Without a list of taints there, and beside another's.
        for theirs in [&[][..], &["theirs"]] {
            rig.taint("node1", theirs).await;
            rig.agent_writes(&bound).await;
            let tainted = [theirs, &[mark::TAINT_UNSAFE]].concat();
            let is_tainted = |node: &Node| keys(node) == tainted;
            rig.until_node("node1", "it is tainted", is_tainted).await;
            rig.agent_says("Ready").await;
            let is_free = |node: &Node| keys(node) == theirs;
            rig.until_node("node1", "the taint goes", is_free).await;
        }
        drop(controller);
    });
}

#[test]
fn a_node_bears_its_interfaces_for_applications_while_it_has_them() {
    Rig::new(1).run(async |rig| {
        rig.wish("first", &spec(&[SUBNET_B])).await;
        let config = Config {
            annotate_nodes: true,
            ..config()
        };
        let controller = rig.controller_at(config);
        let interfaces = |node: &Node| -> Option<Value> {
            let text = node.annotations().get(mark::ANNOTATION_INTERFACES)?;
            serde_json::from_str(text).ok()
        };
        rig.until_node("node1", "its interface is written on it", |node| {
            interfaces(node)
                .is_some_and(|all| all[0]["nodeENI"] == "first" && all[0]["macAddress"].is_string())
        })
        .await;
        rig.agent_writes(&json!({"phase": "Ready"})).await;
        rig.unwish("first").await;
        rig.agent_writes(&json!({"phase": "Released", "released": true}))
            .await;
        rig.until_node("node1", "nothing is written any more", |node| {
            interfaces(node).is_none()
        })
        .await;
        drop(controller);
    });
}

/// The keys of a node's taints.
fn keys(node: &Node) -> Vec<&str> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let taints = taints.into_iter().flatten();
    taints.map(|taint| taint.key.as_str()).collect()
}
