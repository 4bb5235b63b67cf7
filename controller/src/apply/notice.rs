//! Tells people and metrics what was done, in J's words where J has one.

use std::collections::BTreeMap;

use eniway_api::{NodeEniAttachment, mark};
use eniway_ec2::{Change, Error as Ec2Error, Verdict};
use kube::ResourceExt as _;

use crate::{
    action::{Action, Target},
    controller::Controller,
    desired::Unwanted,
    kubernetes::Notice,
};

impl Controller {
    /// An event, in J's words.
    pub(super) fn tell(&self, action: &Action, on: &Target, error: Option<&Ec2Error>) {
        let done = error.is_none();
        let already = error.is_some_and(|error| error.verdict() == Verdict::AlreadyDone);
        let reason = match action {
            Action::Create { .. } if !done => "ENICreationFailed",
            Action::Attach { .. } if done => "ENIAttached",
            Action::Attach { .. } => "ENIAttachmentFailed",
            Action::Tag { tags, .. } if done && retains(tags) => "ENIRetained",
            Action::Modify { .. }
            | Action::Tag { .. }
            | Action::Untag { .. }
            | Action::Assign { .. }
            | Action::Unassign { .. }
            | Action::Associate { .. }
            | Action::Disassociate { .. }
                if !done =>
            {
                "ENIModificationFailed"
            }
            Action::Associate { .. } => "ElasticIPAssociated",
            Action::Disassociate { .. } => "ElasticIPDisassociated",
            Action::Detach { force: true, .. } if done => "ENIForceDetached",
            Action::Detach {
                unreleased: true, ..
            } if done => "ENIDetachedUnreleased",
            Action::Detach { .. } if done => "ENIDetached",
            Action::Detach { .. } if already => "ENIAttachmentAlreadyRemoved",
            Action::Detach { .. } => "ENIDetachmentFailed",
            Action::Delete { .. } if done => "ENIDeleted",
            Action::Delete { .. } if already => "ENIAlreadyDeleted",
            Action::Delete { .. } => "ENIDeletionFailed",
            _ => return,
        };
        self.notify(Notice {
            node_eni: on.node_eni.clone(),
            record: Some(on.record.clone()),
            warning: !done && !already || is_harsh(action),
            reason,
            action: kind(action),
            note: match error {
                Some(error) if !already => format!("{action} for node {}: {error}", on.node),
                _ => format!("{action} for node {}", on.node),
            },
        });
    }
}

impl Controller {
    /// An event, when a record goes in a way that people notice.
    pub(super) fn tell_deletion(&self, record: &NodeEniAttachment, why: Unwanted) {
        match why {
            Unwanted::NoRoomForBoth => self.notify(Notice {
                node_eni: record.spec.node_eni.clone(),
                record: Some(record.name_any()),
                warning: true,
                reason: "NoRoomForBoth",
                action: "DeleteRecord",
                note: format!(
                    "the interface in {} of node {} goes before its successor is attached: {why}",
                    record.spec.subnet_id, record.spec.node_name
                ),
            }),
            Unwanted::NodeEniGone
            | Unwanted::NodeEniDeleted
            | Unwanted::InstanceTerminated
            | Unwanted::LabelLost
            | Unwanted::SubnetDropped
            | Unwanted::MemberGone
            | Unwanted::MemberTaken
            | Unwanted::NeededElsewhere => {}
        }
    }
}

/// Whether it takes something away that is not known to be free.
const fn is_harsh(action: &Action) -> bool {
    matches!(
        action,
        Action::Detach { force: true, .. }
            | Action::Detach {
                unreleased: true,
                ..
            }
    )
}

/// Whether the tags say that the interface stays when its record goes.
fn retains(tags: &BTreeMap<String, String>) -> bool {
    let role = tags.get(mark::TAG_ROLE);
    role.is_some_and(|role| role == mark::Role::Retained.as_str())
}

/// The action, for metrics.
pub(super) const fn kind(action: &Action) -> &'static str {
    match action {
        Action::WriteRecord { .. } => "WriteRecord",
        Action::ChangeRecord { .. } => "ChangeRecord",
        Action::DeleteRecord { .. } => "DeleteRecord",
        Action::Report { .. } => "Report",
        Action::DropFinalizer { .. } => "DropFinalizer",
        Action::Create { .. } => "Create",
        Action::Attach { .. } => "Attach",
        Action::Modify { change, .. } => match change {
            Change::DeleteOnTermination(..) => "SetDeleteOnTermination",
            Change::EnaQueueCount(..) => "SetEnaQueueCount",
            Change::SourceDestCheck(_) => "SetSourceDestCheck",
            Change::Groups(_) => "SetGroups",
            Change::Description(_) => "SetDescription",
        },
        Action::Tag { .. } => "Tag",
        Action::Untag { .. } => "Untag",
        Action::Assign { .. } => "Assign",
        Action::Unassign { .. } => "Unassign",
        Action::Associate { .. } => "Associate",
        Action::Disassociate { .. } => "Disassociate",
        Action::Detach { .. } => "Detach",
        Action::Delete { .. } => "Delete",
        Action::LabelNode { .. } => "LabelNode",
        Action::AnnotateNode { .. } => "AnnotateNode",
        Action::Taint { .. } => "Taint",
        Action::Untaint { .. } => "Untaint",
        Action::Look(_) => "Look",
    }
}
