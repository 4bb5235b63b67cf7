//! What users and controllers write on the nodes of the simulated API server.

use std::collections::BTreeMap;

use eniway_api::mark;
use eniway_controller::{
    desired::{Node, Taint},
    kubernetes::{Answer, Error},
};

use crate::{
    api_server::ApiServer,
    store::{Store, refusal},
};

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

    pub(crate) fn annotate_node(
        &mut self,
        name: &str,
        uid: &str,
        interfaces: Option<&str>,
    ) -> Result<Node, kube::Error> {
        let mut node = self.this_node(name, uid)?.clone();
        node.interfaces = interfaces.map(str::to_owned);
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

impl ApiServer {
    /// Writes one node.
    pub(crate) fn on_node<'a>(
        &'a self,
        name: &'a str,
        failed: fn(String, kube::Error) -> Error,
        change: impl Fn(&mut Store) -> Result<Node, kube::Error> + Send + 'a,
    ) -> Answer<'a, Node> {
        Box::pin(async move {
            let written = self.write(change).await;
            written.map_err(|source| failed(name.to_owned(), source))
        })
    }
}
