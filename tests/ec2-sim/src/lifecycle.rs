//! Carries out what happens by itself: attachments that complete, instances that start and end.

use jiff::Timestamp;

use crate::event::{Plug, What};
use crate::ids::{AttachmentId, EniId, InstanceId};
use crate::model::{Attachment, AttachmentState, Instance, InstanceState, Interface, Slot};
use crate::world::World;

/// Something that is to happen at a set time.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    Attached(AttachmentId),
    Detached(AttachmentId),
    Reaches(InstanceId, InstanceState),
    Forgotten(InstanceId),
}

impl World {
    /// Lets everything happen that is due up to `now`, in order, and readers see what they may see.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(entry) = self.due.first_entry() {
            let at = entry.key().0;
            if at > now {
                break;
            }
            match entry.remove() {
                Due::Attached(attachment) => self.complete_attach(&attachment, at),
                Due::Detached(attachment) => self.untie(&attachment, at),
                Due::Reaches(instance, state) => self.reach(&instance, state, at),
                Due::Forgotten(instance) => {
                    self.instances.remove(at, &instance);
                }
            }
        }
        let then = now - self.settings.read_lag_ms;
        self.interfaces.catch_up(then);
        self.instances.catch_up(then);
        self.route_tables.catch_up(then);
        self.elastic_ips.catch_up(then);
    }

    pub(crate) fn schedule(&mut self, at: Timestamp, due: Due) {
        self.due_count += 1;
        self.due.insert((at, self.due_count), due);
    }

    /// Ties an interface to a free place. Only a running instance has to be told (`hot`).
    pub(crate) fn tie(
        &mut self,
        eni: &EniId,
        instance: &InstanceId,
        slot: Slot,
        launch: bool,
        now: Timestamp,
    ) -> Option<AttachmentId> {
        let id = self.namer.attachment();
        let hot = !launch && self.instances.get(instance)?.state == InstanceState::Running;
        let attachment = Attachment {
            id: id.clone(),
            instance: instance.clone(),
            slot,
            state: if hot {
                AttachmentState::Attaching
            } else {
                AttachmentState::Attached
            },
            // Made by the launch: goes with the instance. Attached later: stays, until it is changed.
            delete_on_termination: launch,
            ena_queues: None,
            attach_time: now,
            metadata_from: now,
        };
        let plug = self.interfaces.change(now, eni, |interface| {
            let plug = Plug::of(interface, &attachment);
            interface.attachment = Some(attachment);
            plug
        })?;
        self.instances.change(now, instance, |instance| {
            instance.interfaces.insert(slot, eni.clone())
        });
        self.attachments.insert(id.clone(), eni.clone());
        self.tell(
            now,
            if hot {
                What::Attaching(plug)
            } else {
                What::Attached(plug)
            },
        );
        Some(id)
    }

    fn complete_attach(&mut self, id: &AttachmentId, at: Timestamp) {
        let metadata_from = at + self.settings.metadata_lag_ms;
        let Some(eni) = self.attachments.get(id).cloned() else {
            return;
        };
        let plug = self.interfaces.change(at, &eni, |interface| {
            let attachment = interface
                .attachment
                .as_mut()
                .filter(|attachment| attachment.state == AttachmentState::Attaching)?;
            attachment.state = AttachmentState::Attached;
            attachment.metadata_from = metadata_from;
            let attachment = attachment.clone();
            Some(Plug::of(interface, &attachment))
        });
        if let Some(plug) = plug.flatten() {
            self.tell(at, What::Attached(plug));
        }
    }

    /// Ends an attachment; the interface is free again.
    pub(crate) fn untie(&mut self, id: &AttachmentId, at: Timestamp) {
        let Some(eni) = self.attachments.remove(id) else {
            return;
        };
        let plug = self.interfaces.change(at, &eni, |interface| {
            let attachment = interface.attachment.take()?;
            Some((Plug::of(interface, &attachment), attachment))
        });
        if let Some((plug, attachment)) = plug.flatten() {
            self.instances.change(at, &attachment.instance, |instance| {
                instance.interfaces.remove(&attachment.slot)
            });
            self.tell(at, What::Detached(plug));
        }
    }

    /// Moves an instance into a state, and plans the one that follows.
    pub(crate) fn reach(&mut self, id: &InstanceId, state: InstanceState, at: Timestamp) {
        let Some(previous) = self.instances.get(id).map(|instance| instance.state) else {
            return;
        };
        // What was planned before somebody terminated the instance does not happen any more.
        let overtaken = match state {
            InstanceState::Running => previous != InstanceState::Pending,
            InstanceState::Stopped => previous != InstanceState::Stopping,
            InstanceState::Terminated => previous != InstanceState::ShuttingDown,
            InstanceState::Pending | InstanceState::Stopping | InstanceState::ShuttingDown => false,
        };
        if overtaken || previous == state {
            return;
        }
        self.instances.change(at, id, |instance: &mut Instance| {
            instance.state = state;
            if state == InstanceState::Pending {
                instance.launch_time = at;
            }
        });
        self.tell(
            at,
            What::InstanceState {
                instance: id.clone(),
                state,
                previous,
            },
        );
        let settings = self.settings.clone();
        match state {
            InstanceState::Pending => self.schedule(
                at + settings.start_ms,
                Due::Reaches(id.clone(), InstanceState::Running),
            ),
            InstanceState::Stopping => self.schedule(
                at + settings.stop_ms,
                Due::Reaches(id.clone(), InstanceState::Stopped),
            ),
            InstanceState::ShuttingDown => {
                self.schedule(
                    at + settings.terminate_ms,
                    Due::Reaches(id.clone(), InstanceState::Terminated),
                );
            }
            InstanceState::Terminated => {
                self.release_all(id, at);
                self.schedule(at + settings.forget_ms, Due::Forgotten(id.clone()));
            }
            InstanceState::Running | InstanceState::Stopped => {}
        }
    }

    /// The end of an instance: an interface goes with it, or is free again.
    fn release_all(&mut self, id: &InstanceId, at: Timestamp) {
        let Some(instance) = self.instances.get(id) else {
            return;
        };
        let enis: Vec<EniId> = instance.interfaces.values().cloned().collect();
        for eni in enis {
            let Some(attachment) = self
                .interfaces
                .get(&eni)
                .and_then(|interface| interface.attachment.clone())
            else {
                continue;
            };
            self.untie(&attachment.id, at);
            if attachment.delete_on_termination {
                self.delete_interface(&eni, at);
            }
        }
    }

    /// Deletes an interface that is free, and gives its addresses back.
    pub(crate) fn delete_interface(&mut self, id: &EniId, at: Timestamp) {
        let Some(interface) = self.interfaces.remove(at, id) else {
            return;
        };
        // Its Elastic IPs are the account's again.
        for association in interface.public.values() {
            self.part(&association.allocation, at);
        }
        if let Some(subnet) = self.subnets.get_mut(&interface.subnet) {
            give_back(&mut subnet.pool, &interface);
        }
        self.tell(
            at,
            What::EniDeleted {
                eni: id.clone(),
                mac: interface.mac.clone(),
            },
        );
    }

    /// Ends an attachment as if a person had pulled it by other means: for tests.
    pub fn pull(&mut self, id: &AttachmentId, now: Timestamp) {
        self.untie(id, now);
    }

    /// Completes an attachment that is stuck in `attaching` or `detaching`: for tests.
    pub fn unstick(&mut self, id: &AttachmentId, now: Timestamp) {
        let state = self.attachments.get(id).and_then(|eni| {
            self.interfaces
                .get(eni)?
                .attachment
                .as_ref()
                .map(|it| it.state)
        });
        match state {
            Some(AttachmentState::Attaching) => self.complete_attach(id, now),
            Some(AttachmentState::Detaching) => self.untie(id, now),
            Some(AttachmentState::Attached) | None => {}
        }
    }
}

pub(crate) fn give_back(pool: &mut crate::pool::Pool, interface: &Interface) {
    for address in &interface.addresses {
        pool.release(*address);
    }
    for prefix in &interface.prefixes {
        pool.release_prefix(*prefix);
    }
    for address in &interface.ipv6_addresses {
        pool.release_ipv6(*address);
    }
    for prefix in &interface.ipv6_prefixes {
        pool.release_ipv6_prefix(*prefix);
    }
}
