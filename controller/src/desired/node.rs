//! A node, as far as interfaces care: what runs it, and which NodeENIs select it.

use std::collections::BTreeMap;

use eniway_api::{InstanceId, NodeEni};

/// A Kubernetes node, as far as interfaces care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub provider: Provider,
}

/// What runs a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// An EC2 instance.
    Instance(InstanceId),
    /// Nobody said yet.
    Unknown,
    /// Something that has no interfaces for us, as Fargate or a hybrid node.
    Foreign(String),
}

impl Node {
    /// The instance, if it is one.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        match &self.provider {
            Provider::Instance(id) => Some(id),
            Provider::Unknown | Provider::Foreign(_) => None,
        }
    }
}

/// Reads a node's `spec.providerID` and its labels.
#[must_use]
pub fn provider(provider_id: Option<&str>, labels: &BTreeMap<String, String>) -> Provider {
    if let Some(kind) = labels.get("eks.amazonaws.com/compute-type")
        && matches!(kind.as_str(), "fargate" | "hybrid")
    {
        return Provider::Foreign(kind.clone());
    }
    let Some(id) = provider_id.filter(|id| !id.is_empty()) else {
        return Provider::Unknown;
    };
    // aws:///eu-central-1a/i-0123456789abcdef0
    let last = id.rsplit('/').next().unwrap_or_default();
    if id.starts_with("aws://") && last.starts_with("i-") {
        Provider::Instance(last.into())
    } else {
        Provider::Foreign(id.to_owned())
    }
}

/// Whether the node's labels are what is asked for. An empty selector selects nothing.
#[must_use]
pub fn selects(node_eni: &NodeEni, node: &Node) -> bool {
    let spec = &node_eni.spec;
    let (labels, expressions) = (&spec.node_selector, &spec.node_selector_expressions);
    !(labels.is_empty() && expressions.is_empty())
        && labels
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
        && expressions.iter().all(|one| one.matches(&node.labels))
}
