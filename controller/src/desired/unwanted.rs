//! Decides which records nothing wants any more, and whose instance must be asked for.

use eniway_api::{NodeEniAttachment, conditions::reason};
use kube::ResourceExt as _;

use super::{Declared, Desired, Inputs, Node, Problem, selects};

/// Whether Kubernetes dropped or replaced the record's node, and EC2 has not said that the instance
/// ends.
pub(super) fn lost_its_node(inputs: Inputs<'_>, record: &NodeEniAttachment) -> bool {
    let id = &record.spec.instance_id;
    let ends = match inputs.snapshot.instance(id) {
        Some(instance) => instance.state.is_gone(),
        None => inputs.snapshot.is_missing(id),
    };
    !ends && inputs.node.and_then(Node::instance) != Some(id)
}

/// Why a record should go, if it should.
pub(super) fn unwanted(
    desired: &Desired,
    inputs: Inputs<'_>,
    record: &NodeEniAttachment,
) -> Option<&'static str> {
    let spec = &record.spec;
    let owner = inputs
        .declared
        .iter()
        .find(|declared| declared.uid() == spec.node_eni.uid);
    let node_eni = match owner {
        None => return Some("its NodeENI is gone"),
        Some(Declared::Unreadable { .. }) => return None,
        Some(Declared::Readable(node_eni)) => node_eni,
    };
    if node_eni.metadata.deletion_timestamp.is_some() {
        return Some("its NodeENI is being deleted");
    }
    let gone = match inputs.snapshot.instance(&spec.instance_id) {
        Some(instance) => instance.state.is_gone(),
        // A deleted node is not gone; one that EC2 does not know either, is.
        None => {
            inputs.snapshot.is_missing(&spec.instance_id)
                && inputs.node.and_then(Node::instance) != Some(&spec.instance_id)
        }
    };
    if gone {
        return Some("its instance is terminated");
    }
    let node = inputs.node?;
    if node.instance() != Some(&spec.instance_id) {
        return None;
    }
    if !selects(node_eni, node) {
        return Some("the node lost the label");
    }
    let undecided = desired
        .problems
        .iter()
        .any(|problem| problem.node_eni == spec.node_eni.uid && !is_decision(problem));
    let wished = desired
        .wishes
        .iter()
        .any(|wish| wish.record == record.name_any());
    (!undecided && !wished).then_some("the NodeENI names another subnet")
}

/// Whether the problem is known for good: what the NodeENI names is not for this node.
fn is_decision(problem: &Problem) -> bool {
    matches!(
        problem.reason,
        reason::SUBNET_IN_OTHER_ZONE | reason::NO_SUBNET_IN_ZONE
    )
}
