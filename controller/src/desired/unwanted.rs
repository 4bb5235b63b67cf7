//! Decides which records nothing wants any more, and whose instance must be asked for.

use std::fmt;

use eniway_api::{
    DeletionPolicy, NodeEni, NodeEniAttachment, SubnetPolicy,
    conditions::{READY, reason},
};
use kube::ResourceExt as _;

use super::{
    Declared, Desired, Inputs, Node, Problem, Wish,
    pools::{lost, needed_elsewhere},
    selects,
};
use crate::status;

/// Why nothing wants a record any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    NodeEniGone,
    NodeEniDeleted,
    InstanceTerminated,
    LabelLost,
    /// Its place in the NodeENI's list has another subnet, whose interface does its work, or none.
    SubnetDropped,
    /// The same, but the instance has no place for both at once.
    NoRoomForBoth,
    /// EC2 has the pool's member no more.
    MemberGone,
    /// Another instance has the pool's member, or it bears somebody else's mark.
    MemberTaken,
    /// The instance stopped, and a running one waits for the pool's member.
    NeededElsewhere,
}

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeEniGone => "its NodeENI is gone",
            Self::NodeEniDeleted => "its NodeENI is being deleted",
            Self::InstanceTerminated => "its instance is terminated",
            Self::LabelLost => "the node lost the label",
            Self::SubnetDropped => "the NodeENI names another subnet",
            Self::NoRoomForBoth => {
                "the NodeENI names another subnet, and the instance has no place for both"
            }
            Self::MemberGone => "EC2 has the member of the pool no more",
            Self::MemberTaken => "somebody else took the member of the pool",
            Self::NeededElsewhere => {
                "its instance stopped, and another node waits for the member of the pool"
            }
        })
    }
}

/// Whether Kubernetes dropped or replaced the record's node, and EC2 has not said that the instance
/// ends.
pub(super) fn lost_its_node(inputs: Inputs<'_>, record: &NodeEniAttachment) -> bool {
    !has_its_node(inputs, record) && !instance_ends(inputs, record)
}

/// Whether the node still stands for the record's instance.
fn has_its_node(inputs: Inputs<'_>, record: &NodeEniAttachment) -> bool {
    inputs.node.and_then(Node::instance) == Some(&record.spec.instance_id)
}

/// Whether EC2 says that the record's instance ends, or does not know it.
fn instance_ends(inputs: Inputs<'_>, record: &NodeEniAttachment) -> bool {
    let id = &record.spec.instance_id;
    match inputs.snapshot.instance(id) {
        Some(instance) => instance.state.is_gone(),
        None => inputs.snapshot.is_missing(id),
    }
}

/// Why a record should go, if it should.
pub(super) fn unwanted(
    desired: &Desired,
    inputs: Inputs<'_>,
    record: &NodeEniAttachment,
) -> Option<Unwanted> {
    let spec = &record.spec;
    let owner = inputs
        .declared
        .iter()
        .find(|declared| declared.uid() == spec.node_eni.uid);
    let node_eni = match owner {
        None => return Some(Unwanted::NodeEniGone),
        Some(Declared::Unreadable { .. }) => return None,
        Some(Declared::Readable(node_eni)) => node_eni,
    };
    if node_eni.metadata.deletion_timestamp.is_some() {
        return Some(Unwanted::NodeEniDeleted);
    }
    // A read may lack an instance that is young: while its node stands, only EC2's word counts.
    let said = inputs.snapshot.instance(&spec.instance_id).is_some();
    if instance_ends(inputs, record) && (said || !has_its_node(inputs, record)) {
        return Some(Unwanted::InstanceTerminated);
    }
    if let Some(why) = lost(inputs, record).or_else(|| needed_elsewhere(inputs, record)) {
        return Some(why);
    }
    let node = inputs.node.filter(|_| has_its_node(inputs, record))?;
    if !selects(node_eni, node) {
        return Some(Unwanted::LabelLost);
    }
    let undecided = desired
        .problems
        .iter()
        .any(|problem| problem.node_eni == spec.node_eni.uid && !is_decision(problem));
    let wished = desired
        .wishes
        .iter()
        .any(|wish| wish.record == record.name_any());
    if undecided || wished {
        return None;
    }
    match successor(desired, node_eni, record) {
        None => Some(Unwanted::SubnetDropped),
        Some(wish) => replaced(inputs, record, wish),
    }
}

/// What the NodeENI says of its interfaces' end, if the record says something else: a user may have
/// changed it together with what makes the record unwanted.
pub(super) fn changed_policy(
    inputs: Inputs<'_>,
    record: &NodeEniAttachment,
) -> Option<DeletionPolicy> {
    if record.spec.pool.is_some() {
        return None;
    }
    let uid = &record.spec.node_eni.uid;
    let owner = inputs.declared.iter().find(|one| one.uid() == uid)?;
    let policy = match owner {
        Declared::Readable(node_eni) => node_eni.spec.deletion_policy.unwrap_or_default(),
        Declared::Unreadable { .. } => return None,
    };
    (policy != record.spec.deletion_policy).then_some(policy)
}

/// The wish that stands where the record's subnet stood.
pub(crate) fn successor<'a>(
    desired: &'a Desired,
    node_eni: &NodeEni,
    record: &NodeEniAttachment,
) -> Option<&'a Wish> {
    let of_node_eni = |wish: &&Wish| wish.spec.node_eni.uid == record.spec.node_eni.uid;
    let mut wishes = desired.wishes.iter().filter(of_node_eni);
    match node_eni.spec.subnet_policy.unwrap_or_default() {
        SubnetPolicy::All => wishes.find(|wish| wish.spec.position == record.spec.position),
        SubnetPolicy::MatchZone => wishes.next(),
    }
}

/// The new interface comes before the old one goes, as far as the old one ever came; unless the
/// instance has no place for both.
fn replaced(inputs: Inputs<'_>, record: &NodeEniAttachment, wish: &Wish) -> Option<Unwanted> {
    let reached = |record: &NodeEniAttachment| (status::attached(record), status::ready(record));
    let next = inputs
        .records
        .iter()
        .find(|next| next.name_any() == wish.record)
        .filter(|next| next.metadata.deletion_timestamp.is_none())?;
    if reached(next) >= reached(record) {
        return Some(Unwanted::SubnetDropped);
    }
    let conditions = &next.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|one| one.type_ == READY)?;
    let crowded = [reason::INSTANCE_LIMIT_REACHED, reason::NO_FREE_DEVICE_INDEX];
    crowded
        .contains(&ready.reason.as_str())
        .then_some(Unwanted::NoRoomForBoth)
}

/// Whether the problem is known for good: what the NodeENI names is not for this node.
pub(crate) fn is_decision(problem: &Problem) -> bool {
    matches!(
        problem.reason,
        reason::SUBNET_IN_OTHER_ZONE | reason::NO_SUBNET_IN_ZONE | reason::ADDRESS_OUTSIDE_SUBNETS
    )
}
