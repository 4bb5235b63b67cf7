//! Decides whether a node says that a program on it may have a device without an IOMMU, by which it reads and writes all
//! memory of the node.

use std::sync::Arc;

use eniway_api::NodeEniAttachment;

use crate::{action::Action, desired::Node};

/// What must be written on the node.
#[must_use]
pub fn expose(node: &Node, records: &[Arc<NodeEniAttachment>]) -> Option<Action> {
    let is_exposed = records.iter().any(|record| is_unsafe(record, node));
    let (name, uid) = (node.name.clone(), node.uid.clone());
    let taints = node.unsafe_taints();
    match (is_exposed, taints.is_empty()) {
        (true, true) => Some(Action::Taint { name, uid }),
        (false, false) => Some(Action::Untaint { name, uid, taints }),
        (true, false) | (false, true) => None,
    }
}

/// Whether its device is bound without an IOMMU, as the node's agent last said.
fn is_unsafe(record: &NodeEniAttachment, node: &Node) -> bool {
    let told = record.status.as_ref().and_then(|it| it.node.as_ref());
    let dpdk = told.and_then(|told| told.dpdk.as_ref());
    Some(&record.spec.instance_id) == node.instance() && dpdk.is_some_and(|dpdk| dpdk.no_iommu)
}

#[cfg(test)]
mod tests {
    use eniway_api::{DpdkStatus, NodeEniAttachmentSpec, NodeStatus, mark};

    use super::*;
    use crate::desired::{Provider, Taint};

    fn check(instance: &str, no_iommu: bool, tainted: bool, expected: &str) {
        let spec = NodeEniAttachmentSpec {
            instance_id: instance.into(),
            ..NodeEniAttachmentSpec::default()
        };
        let mut record = NodeEniAttachment::new("record", spec);
        record.status.get_or_insert_default().node = Some(NodeStatus {
            dpdk: Some(DpdkStatus {
                no_iommu,
                ..DpdkStatus::default()
            }),
            ..NodeStatus::default()
        });
        let taint = |key: &str| Taint {
            index: 0,
            key: key.to_owned(),
            effect: "NoSchedule".to_owned(),
        };
        let mut node = Node {
            name: "node1".to_owned(),
            provider: Provider::Instance("i-1".into()),
            taints: vec![taint(mark::TAINT_NOT_READY)],
            ..Node::default()
        };
        if tainted {
            node.taints.push(taint(mark::TAINT_UNSAFE));
        }
        let action = expose(&node, &[Arc::new(record)]);
        let action = action.map(|action| action.to_string());
        assert_eq!(action.unwrap_or_default(), expected);
    }

    #[test]
    fn a_node_with_a_device_without_an_iommu_is_tainted_until_it_has_none() {
        let on = "put the taint eniway.io/unsafe-no-iommu on node node1";
        let off = "take the taint eniway.io/unsafe-no-iommu off node node1";
        check("i-1", true, false, on);
        check("i-1", true, true, "");
        check("i-1", false, true, off);
        check("i-1", false, false, "");
        check("i-2", true, false, "");
    }
}
