//! Writes of nodes: labels, taints and an annotation of ours, and nothing else of theirs.

use std::collections::BTreeMap;

use eniway_api::mark;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{ApiServer, Error, watch::node};
use crate::desired::{Node, Taint};

impl ApiServer {
    /// Sets labels of this very node to `true`, or takes them off; returned as it is then.
    pub(super) async fn label_node(
        &self,
        name: &str,
        uid: &str,
        labels: &BTreeMap<String, bool>,
    ) -> Result<Node, Error> {
        let labels: BTreeMap<_, _> = labels
            .iter()
            .map(|(key, set)| (key, set.then_some("true")))
            .collect();
        // With the UID, a node of the same name that was made anew is not touched.
        let body = json!({"metadata": {"uid": uid, "labels": labels}});
        self.nodes
            .patch(name, &PatchParams::default(), &Patch::Merge(&body))
            .await
            .map(node)
            .map_err(|source| Error::LabelNode {
                name: name.to_owned(),
                source,
            })
    }

    /// Writes interfaces on this very node, or takes that off; returned as it is then.
    pub(super) async fn annotate_node(
        &self,
        name: &str,
        uid: &str,
        interfaces: Option<&str>,
    ) -> Result<Node, Error> {
        let annotations = json!({mark::ANNOTATION_INTERFACES: interfaces});
        let body = json!({"metadata": {"uid": uid, "annotations": annotations}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&body));
        let written = self.nodes.patch(name, &params, &patch).await;
        written.map(node).map_err(|source| Error::AnnotateNode {
            name: name.to_owned(),
            source,
        })
    }

    /// Puts our taint on this very node, after those that it has, or as its first.
    pub(super) async fn taint(&self, name: &str, uid: &str) -> Result<Node, Error> {
        let taint = json!({"key": mark::TAINT_UNSAFE, "effect": "NoSchedule"});
        let is_this = json!({"op": "test", "path": "/metadata/uid", "value": uid});
        let beside = json!({"op": "add", "path": "/spec/taints/-", "value": taint});
        match self.patch_node(name, json!([is_this, beside])).await {
            // There is no list to which it could be added.
            Err(kube::Error::Api(answer)) if answer.code == 422 => {
                let none = json!({"op": "test", "path": "/spec/taints", "value": null});
                let alone = json!({"op": "add", "path": "/spec/taints", "value": [taint]});
                self.patch_node(name, json!([is_this, none, alone])).await
            }
            written => written,
        }
        .map_err(|source| Error::Taint {
            name: name.to_owned(),
            source,
        })
    }

    async fn patch_node(&self, name: &str, steps: serde_json::Value) -> Result<Node, kube::Error> {
        let steps = serde_json::from_value(steps).map_err(kube::Error::SerdeError)?;
        let patch = Patch::Json::<()>(steps);
        let params = PatchParams::default();
        self.nodes.patch(name, &params, &patch).await.map(node)
    }

    /// Takes taints off this very node, unless they stand elsewhere by now.
    ///
    /// A list of taints can only be replaced as a whole by other kinds of patches, and then somebody's
    /// taint that came meanwhile is lost. Here each is tested where it stands, the last one first.
    pub(super) async fn untaint(
        &self,
        name: &str,
        uid: &str,
        taints: &[Taint],
    ) -> Result<Node, Error> {
        let mut steps = vec![json!({"op": "test", "path": "/metadata/uid", "value": uid})];
        for taint in taints.iter().rev() {
            let path = format!("/spec/taints/{}", taint.index);
            steps.extend([
                json!({"op": "test", "path": format!("{path}/key"), "value": taint.key}),
                json!({"op": "test", "path": format!("{path}/effect"), "value": taint.effect}),
                json!({"op": "remove", "path": path}),
            ]);
        }
        let written = self.patch_node(name, steps.into()).await;
        written.map_err(|source| Error::Untaint {
            name: name.to_owned(),
            source,
        })
    }
}
