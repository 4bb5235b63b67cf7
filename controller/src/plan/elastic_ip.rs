//! Decides which Elastic IP the primary address of an interface gets, and when it loses it.
//!
//! *Expected flow.* The record's status says which one is chosen, then EC2 is called, then the interface
//! itself shows it. A call that is repeated gives the same association, so a lost answer costs nothing.
//!
//! *Guarantees.* One that something else has is never taken, and only the one that the status names is
//! ever taken off.

use eniway_api::{
    AllocationId, ElasticIpClaim, ElasticIpWish, NodeEniAttachment, conditions::reason,
};
use eniway_ec2::{Association, AttachmentState, Eni};

use super::{Note, Planner, progressing};
use crate::{
    action::{Action, Look, Target},
    elastic_ips::{claimed, named},
    status,
};

impl Planner<'_> {
    /// Has an attached interface bear one that its record asks for; says what keeps it from that.
    pub(super) fn elastic_ip(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        on: &Target,
    ) -> Option<Note> {
        let writes =
            |action: &Action| matches!(action, Action::Report { name, .. } if *name == on.record);
        let attachment = eni.attachment.as_ref();
        let attached = attachment.is_some_and(|one| one.state == AttachmentState::Attached);
        if self.plan.actions.iter().any(writes) || !attached {
            // One status at a time; what it says comes first.
            return None;
        }
        let wish = record.spec.elastic_ip.as_ref();
        let claim = claimed(record);
        let Some(there) = &eni.association else {
            return match (wish, claim) {
                (None, None) => None,
                (None, Some(_)) => self.note_elastic_ip(record, eni, None),
                (Some(wish), Some(claim)) => self.take(record, eni, on, wish, claim),
                (Some(wish), None) => self.choose(record, eni, wish),
            };
        };
        let ours = claim.filter(|claim| there.allocation.as_ref() == Some(&claim.allocation_id));
        match (wish, ours) {
            (Some(wish), Some(claim)) if self.is_meant(wish, &claim.allocation_id) => None,
            (_, Some(_)) => {
                self.gives_elastic_ip_back(record, eni, on);
                progressing(format!("the Elastic IP of {} is being taken off", eni.id))
            }
            // Somebody gave it a public address: it stays, and what was chosen is free for others.
            (_, None) if claim.is_some() => self.note_elastic_ip(record, eni, None),
            (None, None) => None,
            (Some(wish), None) => self.foreign(wish, there, eni),
        }
    }

    /// Takes the one that is ours off the interface, if it has it.
    pub(super) fn gives_elastic_ip_back(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        on: &Target,
    ) -> bool {
        let Some(claim) = claimed(record) else {
            return false;
        };
        let there = eni.association.as_ref();
        let ours = there.filter(|one| one.allocation.as_ref() == Some(&claim.allocation_id));
        let Some(association) = ours.and_then(|one| one.id.clone()) else {
            return false;
        };
        self.push(Action::Disassociate {
            on: on.clone(),
            eni: eni.id.clone(),
            address: claim.allocation_id.clone(),
            association,
        });
        true
    }

    /// The one that is chosen, unless it is no longer meant or something else has it by now.
    fn take(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        on: &Target,
        wish: &ElasticIpWish,
        claim: &ElasticIpClaim,
    ) -> Option<Note> {
        let all = &self.observed.snapshot.elastic_ips;
        let id = &claim.allocation_id;
        if all.known.is_none() {
            return self.look_at_elastic_ips();
        }
        if !self.is_meant(wish, id) || all.is_lost(id, &eni.id) {
            return self.note_elastic_ip(record, eni, None);
        }
        self.push(Action::Associate {
            on: on.clone(),
            eni: eni.id.clone(),
            address: id.clone(),
        });
        progressing(format!("{id} is being associated with {}", eni.id))
    }

    fn choose(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        wish: &ElasticIpWish,
    ) -> Option<Note> {
        let name = record.metadata.name.as_deref().unwrap_or_default();
        if let Some(id) = self.observed.elastic_ips.get(name) {
            let claim = ElasticIpClaim {
                allocation_id: id.clone(),
                association_id: None,
            };
            return self.note_elastic_ip(record, eni, Some(claim));
        }
        let asking = self.look_at_elastic_ips();
        let all = &self.observed.snapshot.elastic_ips;
        let Some(known) = &all.known else {
            return asking;
        };
        let (reason, message) = match named(wish, known).count() {
            0 => (
                reason::ELASTIC_IP_NOT_FOUND,
                format!("the account has no Elastic IP {wish} in this region"),
            ),
            1 => (
                reason::NO_FREE_ELASTIC_IP,
                format!("the only Elastic IP of {wish} belongs to something else"),
            ),
            all => (
                reason::NO_FREE_ELASTIC_IP,
                format!("all {all} Elastic IPs of {wish} belong to something else"),
            ),
        };
        Some(Note { reason, message })
    }

    /// Somebody else gave the interface a public address.
    fn foreign(&self, wish: &ElasticIpWish, there: &Association, eni: &Eni) -> Option<Note> {
        let meant = there.allocation.as_ref();
        if meant.is_some_and(|id| self.is_meant(wish, id)) {
            // It has what is asked for; it is not ours to take off.
            return None;
        }
        Some(Note {
            reason: reason::ELASTIC_IP_FOREIGN,
            message: format!(
                "somebody gave {} the public address {}; it is left alone. Disassociate it to have \
                 one of {wish}",
                eni.id, there.public_ip
            ),
        })
    }

    /// Whether the wish means it, as far as is known: tags of one that is not known may be right.
    fn is_meant(&self, wish: &ElasticIpWish, id: &AllocationId) -> bool {
        let known = self.observed.snapshot.elastic_ips.known.as_ref();
        if wish.allocation_ids.contains(id) {
            return true;
        }
        let by_tags = wish.allocation_ids.is_empty();
        match known.and_then(|known| known.get(id)) {
            Some(one) => wish.names(id, &one.tags),
            None => by_tags,
        }
    }

    /// Asks EC2 for the Elastic IPs, when what is known of them is old; what is awaited.
    fn look_at_elastic_ips(&mut self) -> Option<Note> {
        let all = &self.observed.snapshot.elastic_ips;
        let due = all.read.map(|at| at + self.observed.catalog_pause);
        let refused = all.refused.clone();
        match due {
            Some(due) if due > self.now.monotonic => self.wake(due),
            Some(_) | None => self.push(Action::Look(Look::ElasticIps)),
        }
        match refused {
            Some(message) => Some(Note {
                reason: reason::NOT_AUTHORIZED,
                message,
            }),
            None => progressing("asking EC2 which Elastic IPs are free"),
        }
    }

    /// Writes down which one is chosen, or that none is.
    fn note_elastic_ip(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        elastic_ip: Option<ElasticIpClaim>,
    ) -> Option<Note> {
        let subnet = self.observed.snapshot.subnets.get(&record.spec.subnet_id);
        let ec2 = eniway_api::Ec2Status {
            elastic_ip,
            ..status::ec2(record, Some(eni), subnet)
        };
        let note = progressing(format!("the Elastic IP of {} is being changed", eni.id));
        self.note(record, ec2, note.clone());
        note
    }
}

#[cfg(test)]
mod tests;
