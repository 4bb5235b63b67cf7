//! A node, as far as interfaces care: what runs it, and which NodeENIs select it.

use std::collections::BTreeMap;

use eniway_api::{InstanceId, NodeEni, mark};

/// A Kubernetes node, as far as interfaces care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// Another node that takes the name has another one.
    pub uid: String,
    /// Rises with each write; 0: not known.
    pub version: u64,
    pub labels: BTreeMap<String, String>,
    pub provider: Provider,
    /// Pods that its kubelet allows.
    pub max_pods: Option<u32>,
    /// Those that say that it is not ready yet.
    pub taints: Vec<Taint>,
    /// What is written on it of its interfaces, if anything is.
    pub interfaces: Option<String>,
}

/// A taint of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Where it stands in the node's list.
    pub index: usize,
    pub key: String,
    pub effect: String,
}

/// The taint of a node whose cloud has not said yet what it is: labels may be missing.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// What runs a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// An EC2 instance.
    Instance(InstanceId),
    /// Nobody said yet.
    #[default]
    Unknown,
    /// Something that has no interfaces for us, in a word for people.
    Foreign(&'static str),
}

/// What EKS says of nodes that take no interface of a user, and what people call them.
const FOREIGN: [(&str, &str); 3] = [
    ("fargate", "Fargate"),
    ("hybrid", "hybrid node"),
    ("auto", "EKS Auto Mode"),
];

impl Node {
    /// The instance, if it is one.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        match &self.provider {
            Provider::Instance(id) => Some(id),
            Provider::Unknown | Provider::Foreign(_) => None,
        }
    }

    /// The taints that it bears until its interfaces are ready.
    #[must_use]
    pub fn start_up_taints(&self) -> Vec<Taint> {
        let ours = self.taints.iter();
        let ours = ours.filter(|taint| taint.key == mark::TAINT_NOT_READY);
        ours.cloned().collect()
    }

    /// The taints that say that a program may have a device without an IOMMU.
    #[must_use]
    pub fn unsafe_taints(&self) -> Vec<Taint> {
        let ours = self.taints.iter();
        let ours = ours.filter(|taint| taint.key == mark::TAINT_UNSAFE);
        ours.cloned().collect()
    }

    /// Whether the cloud has said all that it has to say of it.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.taints.iter().all(|taint| taint.key != UNINITIALIZED)
    }
}

/// Whether a taint says something of how ready the node is, or was put on by us.
#[must_use]
pub fn matters(taint: &Taint) -> bool {
    [mark::TAINT_NOT_READY, mark::TAINT_UNSAFE, UNINITIALIZED].contains(&taint.key.as_str())
}

/// Reads a node's `spec.providerID` and its labels.
#[must_use]
pub fn provider(provider_id: Option<&str>, labels: &BTreeMap<String, String>) -> Provider {
    if let Some(kind) = labels.get("eks.amazonaws.com/compute-type")
        && let Some((_, word)) = FOREIGN.iter().find(|(foreign, _)| foreign == kind)
    {
        return Provider::Foreign(word);
    }
    let Some(id) = provider_id.filter(|id| !id.is_empty()) else {
        return Provider::Unknown;
    };
    // aws:///eu-central-1a/i-0123456789abcdef0
    let last = id.rsplit('/').next().unwrap_or_default();
    if id.starts_with("aws://") && last.starts_with("i-") {
        Provider::Instance(last.into())
    } else {
        Provider::Foreign("not an EC2 instance")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_an_instance_or_something_that_people_know_by_a_word() {
        let check = |id: Option<&str>, kind: Option<&str>, expected: Provider| {
            let label = kind.map(|kind| ("eks.amazonaws.com/compute-type", kind));
            let labels = label.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let labels = labels.into_iter().collect();
            assert_eq!(provider(id, &labels), expected, "{id:?} {kind:?}");
        };
        let ec2 = Some("aws:///eu-central-1a/i-0123456789abcdef0");
        let instance = || Provider::Instance("i-0123456789abcdef0".into());
        check(ec2, None, instance());
        check(ec2, Some("ec2"), instance());
        // An instance it is, but one that only AWS may change.
        check(ec2, Some("auto"), Provider::Foreign("EKS Auto Mode"));
        check(None, Some("fargate"), Provider::Foreign("Fargate"));
        check(
            Some("eks-hybrid:///a/b"),
            Some("hybrid"),
            Provider::Foreign("hybrid node"),
        );
        let elsewhere = "not an EC2 instance";
        check(Some("azure:///vm"), None, Provider::Foreign(elsewhere));
        check(
            Some("aws:///a/fargate-ip-1"),
            None,
            Provider::Foreign(elsewhere),
        );
        check(None, None, Provider::Unknown);
        check(Some(""), None, Provider::Unknown);
    }
}
