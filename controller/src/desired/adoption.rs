//! Decides which interfaces of J become ours, and names those that nothing asks for any more.
//!
//! J lists what it made in the NodeENI's status. The choice goes into the record's spec with the very
//! write that makes the record: at no step of a crash does a record exist that would create what it is
//! to take over.

use std::fmt;

use eniway_api::{EniId, NodeEni, NodeEniAttachment, SubnetId};
use eniway_ec2::{Instance, Snapshot};
use kube::ResourceExt as _;

use super::{Declared, Desired, Inputs, Node, Place, unwanted::is_decision};

/// An interface that J made and that no NodeENI asks for any more. It is told of, and left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaimed {
    /// The UID of the NodeENI whose status lists it.
    pub node_eni: String,
    pub node: String,
    pub eni: EniId,
    pub subnet: SubnetId,
}

impl fmt::Display for Unclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} on node {}", self.eni, self.subnet, self.node)
    }
}

impl Place<'_> {
    /// J's interface that the record takes over.
    pub(super) fn adopts(
        &self,
        inputs: Inputs<'_>,
        record: &str,
        subnet: &SubnetId,
    ) -> Option<EniId> {
        if !inputs.adopt {
            return None;
        }
        let listed = self.listed_in(inputs, subnet);
        let Some(record) = inputs.records.iter().find(|one| one.name_any() == record) else {
            return listed.cloned();
        };
        let uid = record.metadata.uid.as_deref().unwrap_or_default();
        let has_one = recorded(record).is_some() || inputs.snapshot.of_record(uid).next().is_some();
        // A person may take an interface off the list that cannot be taken over.
        let chosen = record.spec.adopt.as_ref();
        let chosen = chosen.filter(|id| has_one || self.lists(id));
        chosen.cloned()
    }

    /// J's interface in this subnet, if there is one.
    pub(super) fn listed_in<'a>(
        &'a self,
        inputs: Inputs<'a>,
        subnet: &SubnetId,
    ) -> Option<&'a EniId> {
        let mut listed = listed(inputs, self.node_eni, self.instance);
        let found = listed.find(|(_, of)| *of == subnet);
        found.map(|(eni, _)| eni)
    }

    fn lists(&self, eni: &EniId) -> bool {
        let status = self.node_eni.status.as_ref();
        let mut entries = status.into_iter().flat_map(|status| &status.attachments);
        entries.any(|entry| entry.eni_id.as_ref() == Some(eni))
    }
}

/// The interfaces that the NodeENI's status lists, that are on the instance, and that are no record's;
/// each with its subnet.
pub(super) fn listed<'a>(
    inputs: Inputs<'a>,
    node_eni: &'a NodeEni,
    instance: &'a Instance,
) -> impl Iterator<Item = (&'a EniId, &'a SubnetId)> {
    let status = node_eni.status.as_ref();
    let entries = status.into_iter().flat_map(|status| &status.attachments);
    entries
        .filter(|entry| entry.instance_id.as_ref() == Some(&instance.id))
        .filter_map(|entry| Some((entry.eni_id.as_ref()?, entry.subnet_id.as_ref()?)))
        .filter(move |(eni, _)| is_on(inputs.snapshot, instance, eni))
        .filter(move |(eni, _)| {
            !inputs
                .records
                .iter()
                .any(|one| has(inputs.snapshot, one, eni))
        })
}

/// Whether the interface is on the instance, and not its first one, which AWS made.
fn is_on(snapshot: &Snapshot, instance: &Instance, eni: &EniId) -> bool {
    let mut places = instance.interfaces.iter();
    let place = places.find(|place| place.eni == *eni);
    let second = place.is_some_and(|at| (at.network_card_index, at.device_index) != (0, 0));
    // What is known of the interface itself may be newer.
    let left = snapshot
        .eni(eni)
        .is_some_and(|eni| eni.attachment.is_none());
    second && !left && !snapshot.is_gone(eni)
}

/// Whether the interface is this record's.
fn has(snapshot: &Snapshot, record: &NodeEniAttachment, eni: &EniId) -> bool {
    let marked = snapshot.eni(eni).and_then(eniway_ec2::Eni::record);
    recorded(record) == Some(eni) || (marked.is_some() && marked == record.metadata.uid.as_deref())
}

fn recorded(record: &NodeEniAttachment) -> Option<&EniId> {
    record.status.as_ref()?.ec2.as_ref()?.eni_id.as_ref()
}

/// Names J's interfaces on the node that no wish and no record takes over.
pub(super) fn report_unclaimed(desired: &mut Desired, inputs: Inputs<'_>) {
    let Some(node) = inputs.node else { return };
    let Some(instance) = Node::instance(node).and_then(|id| inputs.snapshot.instance(id)) else {
        return;
    };
    if instance.state.is_gone() {
        return;
    }
    for declared in inputs.declared {
        let Declared::Readable(node_eni) = declared else {
            continue;
        };
        let uid = declared.uid();
        let mut problems = desired.problems.iter();
        let undecided = problems.any(|one| one.node_eni == uid && !is_decision(one));
        if undecided || node_eni.metadata.deletion_timestamp.is_some() {
            continue;
        }
        for (eni, subnet) in listed(inputs, node_eni, instance) {
            let mut wishes = desired.wishes.iter().map(|wish| wish.spec.adopt.as_ref());
            let mut records = inputs.records.iter().map(|one| one.spec.adopt.as_ref());
            if !wishes.any(|id| id == Some(eni)) && !records.any(|id| id == Some(eni)) {
                desired.unclaimed.push(Unclaimed {
                    node_eni: uid.to_owned(),
                    node: node.name.clone(),
                    eni: eni.clone(),
                    subnet: subnet.clone(),
                });
            }
        }
    }
}
