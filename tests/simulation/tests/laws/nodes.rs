//! What users and controllers write on the nodes of the simulated API server.

use std::collections::BTreeMap;

use eniway_api::mark;
use eniway_controller::{
    desired::{Node, Taint},
    kubernetes::Error,
};

use crate::{api_server::refusal, store::Store};

impl Store {
    /// Somebody gives a node a label, or takes it off.
    pub(crate) fn label(&mut self, name: &str, key: &str, value: Option<&str>) {
        if let Some(mut node) = self.nodes.get(name).cloned() {
            match value {
                Some(value) => node.labels.insert(key.to_owned(), value.to_owned()),
                None => node.labels.remove(key),
            };
            self.put_node(node);
        }
    }

    /// The controller says what is ready.
    pub(crate) fn label_node(
        &mut self,
        name: &str,
        uid: &str,
        labels: &BTreeMap<String, bool>,
    ) -> Result<Node, kube::Error> {
        let mut node = self.this_node(name, uid)?.clone();
        for (key, set) in labels {
            if *set {
                node.labels.insert(key.clone(), "true".to_owned());
            } else {
                node.labels.remove(key);
            }
        }
        Ok(self.put_node(node))
    }

    pub(crate) fn taint(&mut self, name: &str, uid: &str) -> Result<Node, kube::Error> {
        let mut node = self.this_node(name, uid)?.clone();
        node.taints.push(Taint {
            index: node.taints.len(),
            key: mark::TAINT_UNSAFE.to_owned(),
            effect: "NoSchedule".to_owned(),
        });
        Ok(self.put_node(node))
    }

    /// Taints go where they are expected, or none does.
    pub(crate) fn untaint(
        &mut self,
        name: &str,
        uid: &str,
        taints: &[Taint],
    ) -> Result<Node, kube::Error> {
        let mut node = self.this_node(name, uid)?.clone();
        if !taints.iter().all(|taint| node.taints.contains(taint)) {
            return Err(refusal(422));
        }
        node.taints.retain(|taint| !taints.contains(taint));
        Ok(self.put_node(node))
    }

    fn this_node(&self, name: &str, uid: &str) -> Result<&Node, kube::Error> {
        let node = self.nodes.get(name).ok_or_else(|| refusal(404))?;
        if node.uid == uid {
            Ok(node)
        } else {
            Err(refusal(409))
        }
    }
}

pub(crate) fn labelling(name: &str) -> impl FnOnce(kube::Error) -> Error {
    let name = name.to_owned();
    |source| Error::LabelNode { name, source }
}

pub(crate) fn tainting(name: &str) -> impl FnOnce(kube::Error) -> Error {
    let name = name.to_owned();
    |source| Error::Taint { name, source }
}

pub(crate) fn untainting(name: &str) -> impl FnOnce(kube::Error) -> Error {
    let name = name.to_owned();
    |source| Error::Untaint { name, source }
}
