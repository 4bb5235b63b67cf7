//! The way of a wanted record: created, attached, as its spec says.

use eniway_api::{Asked, NodeEniAttachment, conditions::reason};
use eniway_ec2::{
    Attachment, AttachmentState, Change, Eni, Instance, InstanceState, NewAttachment, NewEni,
};
use sha2::{Digest as _, Sha256};

use super::{
    Cluster, Note, Planner, adopt, chosen, ena_queues::Queues, progressing, recorded, tags, uid,
};
use crate::{
    action::{Action, Look, Target},
    memory::{Creation, Memory},
    status,
};

impl<'a> Planner<'a> {
    /// Pushes the next steps and says what keeps the record from being ready.
    pub(super) fn grow(
        &mut self,
        record: &'a NodeEniAttachment,
        enis: &[&Eni],
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        let Some(eni) = chosen(record, enis) else {
            return self.create(record, memory, on);
        };
        // A second one of the same record is a leak of a lost answer: it goes while it is idle.
        for extra in enis.iter().filter(|other| other.id != eni.id) {
            if extra.attachment.is_none() {
                self.push(Action::Delete {
                    on: on.clone(),
                    eni: extra.id.clone(),
                });
            }
        }
        self.attributes(record, eni, on);
        let addresses = self.addresses(record, eni, memory, on);
        let place = match &eni.attachment {
            None => self.attach(record, eni, on),
            Some(attachment) => self.attached(record, eni, attachment, memory, on),
        };
        let elastic_ip = self.elastic_ip(record, eni, on);
        place.or(addresses).or(elastic_ip)
    }

    fn create(
        &mut self,
        record: &'a NodeEniAttachment,
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        let snapshot = self.observed.snapshot;
        if let Some(id) = adopt::adoptee(record)
            && !snapshot.is_gone(id)
        {
            return self.adopt(record, id, memory, on);
        }
        let answered = match &memory.creation {
            Creation::Answered(id) => Some(id),
            Creation::Unknown | Creation::Untried | Creation::Unanswered(_) => None,
        };
        if let Some(id) = recorded(record).or(answered) {
            if !snapshot.is_gone(id) {
                self.look(memory, Look::Eni(id.clone(), on.uid.clone()));
                return progressing(format!("asking EC2 what became of {id}"));
            }
            // Its token is burnt: the next creation is another attempt, which is written down first.
            let ec2 = status::next_attempt(record);
            let note = Note {
                reason: reason::PROGRESSING,
                message: format!("{id} is gone and will be replaced"),
            };
            let ready = status::record_ready(record, &ec2, Some(note), self.now.wall);
            self.push(Action::Report {
                name: on.record.clone(),
                ec2: Box::new(ec2),
                ready: Box::new(ready),
            });
            return None;
        }
        if memory.creation == Creation::Unknown && memory.searched.is_none() {
            self.look(memory, Look::Record(on.uid.clone()));
            return progressing("asking EC2 whether the interface exists already");
        }
        let instance = match self.host(record) {
            Ok(instance) => instance,
            Err(note) => return note,
        };
        if let Err(note) = self.place(record, instance) {
            return Some(note);
        }
        let asked = match self.asked_at_creation(record, memory) {
            Ok(asked) => asked,
            Err(note) => return note,
        };
        self.push(Action::Create {
            on: on.clone(),
            new: Box::new(new_eni(record, self.observed.cluster, asked)),
        });
        progressing("being created")
    }

    /// The record's instance, if it takes an interface now; else what is awaited.
    fn host(&mut self, record: &NodeEniAttachment) -> Result<&'a Instance, Option<Note>> {
        let id = &record.spec.instance_id;
        let Some(instance) = self.observed.snapshot.instance(id) else {
            self.look_at_instance(id);
            return Err(progressing("asking EC2 about the instance"));
        };
        match instance.state {
            InstanceState::Running | InstanceState::Stopped => Ok(instance),
            InstanceState::Pending
            | InstanceState::Stopping
            | InstanceState::ShuttingDown
            | InstanceState::Terminated => Err(Some(Note {
                reason: reason::INSTANCE_PENDING,
                message: format!("instance {id} is {:?}", instance.state),
            })),
        }
    }

    pub(super) fn attach(
        &mut self,
        record: &'a NodeEniAttachment,
        eni: &Eni,
        on: &Target,
    ) -> Option<Note> {
        let instance = match self.host(record) {
            Ok(instance) => instance,
            Err(note) => return note,
        };
        let queues = match self.ena_queues(record, instance) {
            Queues::Asked(count) => Some(count),
            Queues::AsGiven | Queues::NotAvailable(_) => None,
            Queues::NotKnown(note) => return note,
        };
        match self.place(record, instance) {
            Err(note) => Some(note),
            Ok(slot) => {
                self.push(Action::Attach {
                    on: on.clone(),
                    new: NewAttachment {
                        eni: eni.id.clone(),
                        instance: instance.id.clone(),
                        device_index: slot.index,
                        network_card_index: slot.card,
                        ena_queue_count: queues,
                    },
                });
                progressing(format!("{} is being attached", eni.id))
            }
        }
    }

    pub(super) fn attached(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        attachment: &Attachment,
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        if attachment.instance != record.spec.instance_id {
            return Some(Note {
                reason: reason::INVALID_REQUEST,
                message: format!(
                    "{} was attached to {} by someone else; detach it there",
                    eni.id, attachment.instance
                ),
            });
        }
        let lives = matches!(
            attachment.state,
            AttachmentState::Attaching | AttachmentState::Attached
        );
        if lives && attachment.delete_on_termination != record.spec.delete_on_termination {
            let wanted = record.spec.delete_on_termination;
            self.modify(
                eni,
                Change::DeleteOnTermination(attachment.id.clone(), wanted),
                on,
            );
        }
        let queues = if lives {
            self.change_ena_queues(record, eni, attachment, on)
        } else {
            None
        };
        match attachment.state {
            AttachmentState::Attached => queues,
            AttachmentState::Attaching => {
                self.look(memory, Look::Eni(eni.id.clone(), on.uid.clone()));
                progressing(format!("{} is being attached", eni.id))
            }
            AttachmentState::Detaching | AttachmentState::Detached => {
                self.look(memory, Look::Eni(eni.id.clone(), on.uid.clone()));
                progressing(format!(
                    "someone detaches {}; it will be attached again",
                    eni.id
                ))
            }
        }
    }

    /// What EC2 sets one call at a time, attached or not.
    pub(super) fn attributes(&mut self, record: &NodeEniAttachment, eni: &Eni, on: &Target) {
        let spec = &record.spec;
        if eni.source_dest_check != spec.source_dest_check {
            self.modify(eni, Change::SourceDestCheck(spec.source_dest_check), on);
        }
        let mut groups = spec.security_group_ids.clone();
        groups.sort();
        // Without any, a member of a pool keeps those that its owner gave it.
        if !(spec.pool.is_some() && groups.is_empty()) && eni.groups != groups {
            self.modify(eni, Change::Groups(groups), on);
        }
        if spec.pool.is_none() && eni.description != spec.description {
            self.modify(eni, Change::Description(spec.description.clone()), on);
        }
        self.tags(record, eni, on);
    }

    pub(super) fn modify(&mut self, eni: &Eni, change: Change, on: &Target) {
        self.push(Action::Modify {
            on: on.clone(),
            eni: eni.id.clone(),
            change,
        });
    }
}

/// The interface as EC2 is asked for it; the same record and attempt give the same request.
fn new_eni(record: &NodeEniAttachment, cluster: &Cluster, asked: Asked) -> NewEni {
    let spec = &record.spec;
    NewEni {
        subnet: spec.subnet_id.clone(),
        primary: None,
        groups: spec.security_group_ids.clone(),
        description: spec.description.clone(),
        tags: tags::wanted(record, cluster),
        asked,
        client_token: client_token(record),
    }
}

/// `sha256(UID, attempt)`, cut to the 64 characters that EC2 takes.
fn client_token(record: &NodeEniAttachment) -> String {
    let ec2 = record
        .status
        .as_ref()
        .and_then(|status| status.ec2.as_ref());
    let attempt = ec2.map_or(0, |ec2| ec2.attempt);
    let mut hash = Sha256::new();
    hash.update(uid(record).as_bytes());
    hash.update(attempt.to_be_bytes());
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
