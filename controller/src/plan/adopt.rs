//! The way of a record that takes over an interface of J: looked at by its ID, then marked as ours.
//! It is never detached for that; what else differs is drift, as of any interface.

use eniway_api::{
    EniId, NodeEniAttachment,
    conditions::{READY, reason},
    mark::{self, Role},
};
use eniway_ec2::{AttachmentState, Eni};

use super::{Note, Observed, Planner, progressing, recorded, uid};
use crate::{
    action::{Look, Target},
    memory::Memory,
};

/// The interface that the record is to take over, until it has one.
pub(super) fn adoptee(record: &NodeEniAttachment) -> Option<&EniId> {
    let ec2 = record
        .status
        .as_ref()
        .and_then(|status| status.ec2.as_ref());
    let first = ec2.is_none_or(|ec2| ec2.attempt == 0);
    let adopt = record.spec.adopt.as_ref();
    adopt.filter(|_| first && recorded(record).is_none())
}

impl Planner<'_> {
    /// Marks the interface as the record's, or says why it stays as it is.
    pub(super) fn adopt(
        &mut self,
        record: &NodeEniAttachment,
        id: &EniId,
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        let Some(eni) = self.observed.snapshot.eni(id) else {
            // Whole reads do not show what lacks our mark.
            self.look(memory, Look::Eni(id.clone(), on.uid.clone()));
            return said_before(record)
                .or_else(|| progressing(format!("asking EC2 about {id}, which is to be adopted")));
        };
        if let Some(why) = refusal(record, eni, self.observed) {
            return Some(Note {
                reason: reason::ADOPTION_REQUIRED,
                message: format!("{id} is listed in the NodeENI's status and not adopted: {why}"),
            });
        }
        self.tags(record, eni, on);
        progressing(format!("{id} is being adopted"))
    }
}

/// Why the interface must not become the record's.
fn refusal(record: &NodeEniAttachment, eni: &Eni, observed: Observed<'_>) -> Option<String> {
    let spec = &record.spec;
    let tag = |key: &str| eni.tags.get(key);
    let Some(attachment) = &eni.attachment else {
        return Some(format!(
            "it is attached to nothing; delete it: {}",
            delete(eni)
        ));
    };
    let lives = matches!(
        attachment.state,
        AttachmentState::Attaching | AttachmentState::Attached
    );
    if attachment.instance != spec.instance_id || !lives {
        let (instance, state) = (&attachment.instance, attachment.state);
        return Some(format!("it is {state:?} at {instance}"));
    }
    if (attachment.network_card_index, attachment.device_index) == (0, 0) {
        return Some("it is the instance's first interface".to_owned());
    }
    if eni.subnet != spec.subnet_id {
        return Some(format!("it is in {}", eni.subnet));
    }
    let cluster = tag(mark::TAG_CLUSTER_UID);
    if cluster.is_some_and(|uid| uid != observed.cluster.uid) {
        return Some("it bears the mark of another cluster".to_owned());
    }
    if tag(mark::TAG_ROLE) == Some(Role::Retained.as_str()) {
        return Some("it was retained by a user".to_owned());
    }
    let mut others = observed
        .records
        .iter()
        .filter(|one| uid(one) != uid(record));
    if let Some(other) = others.find(|one| eni.record() == Some(uid(one))) {
        let other = &other.spec.node_eni.name;
        return Some(format!("NodeENI {other} has adopted it"));
    }
    let made_by = tag(mark::peer::TAG_MANAGED_BY);
    if made_by != Some(mark::peer::MANAGED_BY) {
        let (key, value) = (mark::peer::TAG_MANAGED_BY, mark::peer::MANAGED_BY);
        return Some(format!("it lacks the tag {key}={value}"));
    }
    match tag(mark::peer::TAG_NODE_ENI) {
        Some(name) if name == spec.node_eni.name => None,
        name => Some(format!(
            "its tag {} says {}",
            mark::peer::TAG_NODE_ENI,
            name.unwrap_or("nothing")
        )),
    }
}

fn delete(eni: &Eni) -> String {
    format!(
        "aws ec2 delete-network-interface --network-interface-id {}",
        eni.id
    )
}

/// A refusal stands while EC2 is asked again: whole reads forget what lacks our mark.
fn said_before(record: &NodeEniAttachment) -> Option<Note> {
    let conditions = &record.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|one| one.type_ == READY)?;
    (ready.reason == reason::ADOPTION_REQUIRED).then(|| Note {
        reason: reason::ADOPTION_REQUIRED,
        message: ready.message.clone(),
    })
}
