//! The way out of a deleted record: released by the node, detached, deleted, confirmed.

use std::time::Duration;

use eniway_api::{
    DeletionPolicy, NodeEniAttachment, NodePhase, NodeStatus, conditions::reason, mark,
};
use eniway_ec2::{AttachmentState, Eni, InstanceState};

use super::{Agent, Note, Planner, chosen, progressing, recorded};
use crate::{
    action::{Action, Look, Target},
    holders,
    memory::{Creation, Memory},
};

/// How long EC2 may take to detach before it is told to do so by force. Force can leave the device
/// index unusable and the instance's metadata wrong (API reference, `DetachNetworkInterface`).
const FORCE_AFTER: Duration = Duration::from_secs(600);
/// How often a silent agent is asked for.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(15);

impl<'a> Planner<'a> {
    /// Pushes the next steps and says what is awaited.
    pub(super) fn release(
        &mut self,
        record: &'a NodeEniAttachment,
        enis: &[&Eni],
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        if enis.is_empty() {
            return self.confirm(record, memory, on);
        }
        let kept = match record.spec.deletion_policy {
            DeletionPolicy::Retain => chosen(record, enis),
            DeletionPolicy::Delete => None,
        };
        let mut note = None;
        let mut kept_only = true;
        for eni in enis {
            if kept.is_none_or(|kept| kept.id != eni.id) {
                kept_only = false;
                note = self.release_one(record, eni, memory, on);
            }
        }
        if let Some(eni) = kept {
            let marked = eni.tags.get(mark::TAG_ROLE);
            if marked != Some(mark::Role::Retained.as_str()) {
                // First of all: from here on nobody takes it for something left over.
                self.tags(record, eni, on);
                return releasing(format!("{} is being marked as retained", eni.id));
            }
            if eni.attachment.is_some() {
                return self.release_one(record, eni, memory, on);
            }
            if self.gives_elastic_ip_back(record, eni, on) {
                return releasing(format!("{} gives its Elastic IP back", eni.id));
            }
            if kept_only {
                self.push(Action::DropFinalizer {
                    name: on.record.clone(),
                });
            }
        }
        note
    }

    pub(super) fn release_one(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        let look = Look::Eni(eni.id.clone(), on.uid.clone());
        let Some(attachment) = &eni.attachment else {
            if self.gives_elastic_ip_back(record, eni, on) {
                return releasing(format!("{} gives its Elastic IP back", eni.id));
            }
            self.push(Action::Delete {
                on: on.clone(),
                eni: eni.id.clone(),
            });
            return releasing(format!("{} is being deleted", eni.id));
        };
        let instance = self.observed.snapshot.instance(&attachment.instance);
        if instance.is_none_or(|instance| instance.state.is_gone()) {
            // EC2 detaches, and with deleteOnTermination deletes, by itself.
            self.look(memory, look);
            return releasing(format!("{} goes with its instance", eni.id));
        }
        match attachment.state {
            AttachmentState::Attaching | AttachmentState::Detached => {
                self.look(memory, look);
                releasing(format!("{} is {:?}", eni.id, attachment.state))
            }
            AttachmentState::Detaching => {
                let now = self.now.monotonic;
                let overdue = memory
                    .detaching_since
                    .is_some_and(|since| now >= since + FORCE_AFTER);
                if overdue && !memory.forced {
                    self.push(Action::Detach {
                        on: on.clone(),
                        eni: eni.id.clone(),
                        attachment: attachment.id.clone(),
                        force: true,
                        unreleased: false,
                    });
                } else {
                    self.look(memory, look);
                }
                releasing(format!("{} is being detached", eni.id))
            }
            AttachmentState::Attached => {
                if let Some(note) = self.still_used(record, eni) {
                    self.wake(self.now.monotonic + ASK_AGAIN);
                    return Some(note);
                }
                self.gives_elastic_ip_back(record, eni, on);
                self.push(Action::Detach {
                    on: on.clone(),
                    eni: eni.id.clone(),
                    attachment: attachment.id.clone(),
                    force: false,
                    unreleased: is_unreleased(record),
                });
                releasing(format!("{} is being detached", eni.id))
            }
        }
    }

    /// Why the interface may not be detached yet.
    fn still_used(&self, record: &NodeEniAttachment, eni: &Eni) -> Option<Note> {
        let node = record
            .status
            .as_ref()
            .and_then(|status| status.node.as_ref());
        let annotations = record.metadata.annotations.as_ref();
        let forced =
            annotations.is_some_and(|all| all.contains_key(mark::ANNOTATION_FORCE_RELEASE));
        let stopped = self
            .observed
            .snapshot
            .instance(&record.spec.instance_id)
            .is_some_and(|instance| instance.state == InstanceState::Stopped);
        let untouched = node.is_none_or(|node| node.phase == NodePhase::Pending);
        let done = forced || stopped || node.is_some_and(|node| node.released);
        match self.observed.agent {
            Agent::Alive
                if !forced
                    && !stopped
                    && let Some(note) = self.held(record, eni) =>
            {
                Some(note)
            }
            _ if done => None,
            // Nobody else can tell whether a program has the device, and drives it from its own memory.
            Agent::Silent if !node.is_some_and(is_with_dpdk) => None,
            Agent::Never if untouched => None,
            Agent::Never | Agent::Silent => Some(Note {
                reason: reason::AGENT_SILENT,
                message: format!(
                    "the agent configured the interface and has no lease now; it should release \
                     it. To go on without it: kubectl annotate nea {} {}=true",
                    record.metadata.name.as_deref().unwrap_or_default(),
                    mark::ANNOTATION_FORCE_RELEASE
                ),
            }),
            Agent::Alive if let Some(said) = node.and_then(in_use) => Some(Note {
                reason: reason::IN_USE,
                message: format!("node {}: {said}", record.spec.node_name),
            }),
            // No pod has it, and something on the node is broken: a person would go on, too.
            Agent::Alive if self.is_overdue(record) => None,
            Agent::Alive => {
                let said = node.and_then(|node| node.message.clone());
                releasing(said.unwrap_or_else(|| "the node's agent is releasing it".to_owned()))
            }
        }
    }

    /// Whether the agent had all the time that it gets.
    fn is_overdue(&self, record: &NodeEniAttachment) -> bool {
        let since = record.metadata.deletion_timestamp.as_ref();
        let passed = since.map(|since| self.now.wall.duration_since(since.0));
        let passed = passed.and_then(|passed| Duration::try_from(passed).ok());
        passed.is_some_and(|passed| passed >= self.observed.release_within)
    }

    /// Which pod uses the interface, where that is known.
    fn held(&self, record: &NodeEniAttachment, eni: &Eni) -> Option<Note> {
        let Some(pods) = self.observed.pods else {
            return releasing("asking which pods use the interface".to_owned());
        };
        let users = holders::of_interface(pods, eni);
        let first = users.first()?;
        let more = match users.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(Note {
            reason: reason::IN_USE,
            message: format!(
                "pod {}{more} uses the interface; it goes once the pod has ended. To take it away \
                 now: kubectl annotate nea {} {}=true",
                first.name(),
                record.metadata.name.as_deref().unwrap_or_default(),
                mark::ANNOTATION_FORCE_RELEASE
            ),
        })
    }

    /// No interface is in sight: asks EC2 until it says so itself, then lets the record go.
    fn confirm(
        &mut self,
        record: &NodeEniAttachment,
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        let now = self.now.monotonic;
        let known = recorded(record).or(match &memory.creation {
            Creation::Answered(id) => Some(id),
            Creation::Unknown | Creation::Untried | Creation::Unanswered(_) => None,
        });
        if let Some(id) = known {
            if self.observed.snapshot.is_gone(id) {
                self.push(Action::DropFinalizer {
                    name: on.record.clone(),
                });
                return None;
            }
            self.look(memory, Look::Eni(id.clone(), on.uid.clone()));
            return releasing(format!("asking EC2 whether {id} is gone"));
        }
        // A call may have created something that no read shows yet.
        let last_call = match &memory.creation {
            Creation::Untried => None,
            Creation::Unanswered(at) => Some(*at),
            Creation::Unknown | Creation::Answered(_) => Some(self.observed.leading_since),
        };
        let searched = |since| memory.searched.is_some_and(|at| at >= since);
        match last_call.map(|at| at + self.observed.grace) {
            Some(settled) if settled > now => {
                self.wake(settled);
                releasing("waiting until EC2 shows what was created last".to_owned())
            }
            Some(settled) if !searched(settled) => {
                self.push(Action::Look(Look::Record(on.uid.clone())));
                releasing("asking EC2 whether anything is left".to_owned())
            }
            Some(_) | None => {
                self.push(Action::DropFinalizer {
                    name: on.record.clone(),
                });
                progressing("gone")
            }
        }
    }
}

/// What the agent says of who uses the interface.
fn in_use(node: &NodeStatus) -> Option<&str> {
    let is_so = node.reason.as_deref() == Some(reason::IN_USE);
    node.message.as_deref().filter(|_| is_so)
}

/// Whether the device was DPDK's when the agent last spoke.
fn is_with_dpdk(node: &NodeStatus) -> bool {
    let dpdk = node.dpdk.as_ref();
    let is_away = dpdk.is_some_and(|dpdk| dpdk.no_iommu || dpdk.iommu_group.is_some());
    node.phase == NodePhase::Vfio || is_away
}

/// Whether the agent set the interface up and did not say that it took that away.
fn is_unreleased(record: &NodeEniAttachment) -> bool {
    let status = record.status.as_ref();
    let node = status.and_then(|status| status.node.as_ref());
    node.is_some_and(|node| !node.released && node.phase != NodePhase::Pending)
}

pub(super) fn releasing(message: String) -> Option<Note> {
    Some(Note {
        reason: reason::RELEASING,
        message,
    })
}

#[cfg(test)]
mod tests;
