//! What EC2 last said, and what it said to our own calls since.
//!
//! Pure: time is an argument. A read tells the state of the moment it began, so what we wrote later
//! stays; and because reads lag behind writes, what we wrote lately stays even when a read lacks it.
//! Absent is not gone: only [`Snapshot::is_gone`] says that an interface does not exist.

mod addresses;
mod elastic_ips;
mod routes;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use eniway_api::{AttachmentId, EniId, InstanceId, SubnetId};

pub use self::elastic_ips::ElasticIps;
use crate::{
    Attachment, AttachmentState, Change, Eni, Group, Instance, InstanceType, NewAttachment,
    Occupied, Subnet, instance_types,
};

/// EC2 as far as it is known.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// How long EC2's reads may lag behind its answers to writes.
    grace: Duration,
    /// When the newest whole read began.
    pub whole: Option<Instant>,
    /// When the first one began. Whoever wrote before it may have made what reads do not know yet.
    first: Option<Instant>,
    enis: BTreeMap<EniId, Known<Eni>>,
    /// By the UID of a record, what bears it.
    by_record: BTreeSet<(String, EniId)>,
    gone: BTreeMap<EniId, Instant>,
    /// When an interface that was known ceased to be so.
    lost: BTreeMap<EniId, Instant>,
    /// When our own calls created interfaces: reads may not know of the young ones, not even by ID.
    births: BTreeMap<EniId, Instant>,
    instances: BTreeMap<InstanceId, Known<Instance>>,
    missing_instances: BTreeSet<InstanceId>,
    /// When the newest read of subnets and groups began.
    pub catalog: Option<Instant>,
    pub subnets: BTreeMap<SubnetId, Subnet>,
    pub groups: Vec<Group>,
    /// As EC2 told them.
    pub types: BTreeMap<String, InstanceType>,
    lately: addresses::Lately,
    /// The Elastic IPs of the account.
    pub elastic_ips: ElasticIps,
    tables: routes::Tables,
}

#[derive(Clone, Debug)]
struct Known<T> {
    value: T,
    /// When a call of ours last changed it.
    written: Option<Instant>,
}

impl Snapshot {
    /// Nothing is known yet. EC2's reads may lag behind its writes by `grace`.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            whole: None,
            first: None,
            enis: BTreeMap::new(),
            by_record: BTreeSet::new(),
            gone: BTreeMap::new(),
            lost: BTreeMap::new(),
            births: BTreeMap::new(),
            instances: BTreeMap::new(),
            missing_instances: BTreeSet::new(),
            catalog: None,
            subnets: BTreeMap::new(),
            groups: Vec::new(),
            types: BTreeMap::new(),
            lately: addresses::Lately::default(),
            elastic_ips: ElasticIps::default(),
            tables: routes::Tables::default(),
        }
    }

    /// The interface, if a read or an answer showed it.
    #[must_use]
    pub fn eni(&self, id: &EniId) -> Option<&Eni> {
        self.enis.get(id).map(|known| &known.value)
    }

    /// The limits of an instance type: as EC2 told them, else as this release knows them.
    #[must_use]
    pub fn limits(&self, instance_type: &str) -> Option<&InstanceType> {
        let told = self.types.get(instance_type);
        told.or_else(|| instance_types::built_in(instance_type))
    }

    /// Every interface of ours.
    pub fn enis(&self) -> impl Iterator<Item = &Eni> {
        self.enis.values().map(|known| &known.value)
    }

    /// The interfaces that bear a record's UID, by ID; one, unless something went wrong.
    pub fn of_record(&self, uid: &str) -> impl Iterator<Item = &Eni> {
        let from = (uid.to_owned(), EniId::default());
        let marked = self.by_record.range(from..);
        marked
            .take_while(move |(of, _)| of == uid)
            .filter_map(|(_, id)| self.eni(id))
    }

    /// Whether EC2 itself said that the interface does not exist.
    #[must_use]
    pub fn is_gone(&self, id: &EniId) -> bool {
        self.gone.contains_key(id)
    }

    /// The instance, if a read showed it.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.get(id).map(|known| &known.value)
    }

    /// Every instance known.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().map(|known| &known.value)
    }

    /// Whether EC2, asked for this very instance, did not know it.
    #[must_use]
    pub fn is_missing(&self, id: &InstanceId) -> bool {
        self.missing_instances.contains(id)
    }

    /// Takes in a whole read of our interfaces, begun at `begun`.
    pub fn read_all_enis(&mut self, enis: Vec<Eni>, begun: Instant) {
        let seen = enis.iter().map(|eni| eni.id.clone()).collect();
        self.read_enis(enis, begun);
        self.saw_all_enis(&seen, begun);
    }

    /// The same, of one whose pages were taken in one by one, and showed these.
    pub fn saw_all_enis(&mut self, seen: &BTreeSet<EniId>, begun: Instant) {
        self.first.get_or_insert(begun);
        let absent: Vec<_> = self
            .enis
            .keys()
            .filter(|id| !seen.contains(id))
            .cloned()
            .collect();
        for id in absent {
            if !self.is_recent(&id, begun) {
                self.forget(&id, begun);
            }
        }
        // What was gone ten graces ago is of no interest to anybody.
        self.gone.retain(|_, at| begun < *at + self.grace * 10);
        self.lost.retain(|_, at| begun < *at + self.grace * 10);
        self.births.retain(|_, at| begun < *at + self.grace);
    }

    /// Takes in a read of some interfaces, begun at `begun`.
    pub fn read_enis(&mut self, enis: Vec<Eni>, begun: Instant) {
        for mut eni in enis {
            let written = self.enis.get(&eni.id).and_then(|known| known.written);
            // Newer than the read: our own write, or EC2's word that it is gone.
            let outdated = written.is_some_and(|at| at >= begun)
                || self.gone.get(&eni.id).is_some_and(|at| *at >= begun);
            if !outdated {
                self.gone.remove(&eni.id);
                self.lost.remove(&eni.id);
                self.lately.read(&mut eni, begun, self.grace);
                // Nearly always nothing is new, and then nothing moves.
                if self.eni(&eni.id) != Some(&eni) {
                    self.insert(eni, written);
                }
            }
        }
    }

    /// Takes in a read of exactly these interfaces: what it lacks is gone, unless it is too young, or
    /// may be: a process that died a moment ago may have made what no read showed us so far.
    pub fn confirm(&mut self, asked: &[EniId], enis: Vec<Eni>, begun: Instant) {
        let seen: BTreeSet<_> = enis.iter().map(|eni| eni.id.clone()).collect();
        self.read_enis(enis, begun);
        for id in asked {
            let settled = self.first.is_some_and(|first| begun >= first + self.grace);
            let known = settled || self.enis.contains_key(id) || self.is_gone(id);
            if known && !seen.contains(id) && !self.is_recent(id, begun) {
                self.deleted(id, begun);
            }
        }
    }

    /// Takes in a whole read of the instances, begun at `begun`.
    pub fn read_all_instances(&mut self, instances: Vec<Instance>, begun: Instant) {
        let seen: BTreeSet<_> = instances.iter().map(|i| i.id.clone()).collect();
        self.instances.retain(|id, _| seen.contains(id));
        let asked: Vec<_> = seen.into_iter().collect();
        self.read_instances(&asked, instances, begun);
    }

    /// Takes in a read of exactly these instances, begun at `begun`.
    pub fn read_instances(
        &mut self,
        asked: &[InstanceId],
        instances: Vec<Instance>,
        begun: Instant,
    ) {
        for id in asked {
            self.missing_instances.insert(id.clone());
        }
        for instance in instances {
            self.missing_instances.remove(&instance.id);
            let written = self.instances.get(&instance.id).and_then(|i| i.written);
            if written.is_none_or(|at| at < begun) {
                self.instances.insert(
                    instance.id.clone(),
                    Known {
                        value: instance,
                        written,
                    },
                );
            }
        }
    }

    /// EC2 answered a create.
    pub fn created(&mut self, eni: Eni, now: Instant) {
        if self.eni(&eni.id).is_none()
            && let Some(subnet) = self.subnets.get_mut(&eni.subnet)
        {
            let taken = addresses::taken(eni.addresses.iter().chain(&eni.prefixes));
            subnet.free_addresses = subnet.free_addresses.saturating_sub(taken);
        }
        self.births.insert(eni.id.clone(), now);
        self.insert(eni, Some(now));
    }

    /// EC2 answered an attach.
    pub fn attached(&mut self, new: &NewAttachment, id: AttachmentId, now: Instant) {
        if let Some(known) = self.enis.get_mut(&new.eni) {
            known.written = Some(now);
            known.value.attachment = Some(Attachment {
                id,
                instance: new.instance.clone(),
                device_index: new.device_index,
                network_card_index: new.network_card_index,
                state: AttachmentState::Attaching,
                delete_on_termination: false,
                ena_queue_count: new.ena_queue_count,
            });
        }
        if let Some(known) = self.instances.get_mut(&new.instance) {
            known.written = Some(now);
            known.value.interfaces.push(Occupied {
                eni: new.eni.clone(),
                device_index: new.device_index,
                network_card_index: new.network_card_index,
            });
        }
    }

    /// EC2 answered a change.
    pub fn modified(&mut self, eni: &EniId, change: &Change, now: Instant) {
        let Some(known) = self.enis.get_mut(eni) else {
            return;
        };
        known.written = Some(now);
        let eni = &mut known.value;
        match change {
            Change::DeleteOnTermination(id, value) => {
                if let Some(attachment) = eni.attachment.as_mut().filter(|a| a.id == *id) {
                    attachment.delete_on_termination = *value;
                }
            }
            Change::EnaQueueCount(id, count) => {
                if let Some(attachment) = eni.attachment.as_mut().filter(|a| a.id == *id) {
                    attachment.ena_queue_count = Some(*count);
                }
            }
            Change::SourceDestCheck(value) => eni.source_dest_check = *value,
            Change::Groups(groups) => eni.groups.clone_from(groups),
            Change::Description(text) => eni.description.clone_from(text),
        }
    }

    /// EC2 answered a change of tags.
    pub fn tagged(&mut self, eni: &EniId, tags: BTreeMap<String, String>, now: Instant) {
        if let Some(mut eni) = self.eni(eni).cloned() {
            eni.tags.extend(tags);
            self.insert(eni, Some(now));
        }
    }

    /// EC2 answered that tags are gone.
    pub fn untagged(&mut self, eni: &EniId, keys: &BTreeSet<String>, now: Instant) {
        if let Some(mut eni) = self.eni(eni).cloned() {
            eni.tags.retain(|key, _| !keys.contains(key));
            self.insert(eni, Some(now));
        }
    }

    /// EC2 answered a detach.
    pub fn detaching(&mut self, eni: &EniId, now: Instant) {
        if let Some(known) = self.enis.get_mut(eni) {
            known.written = Some(now);
            if let Some(attachment) = &mut known.value.attachment {
                attachment.state = AttachmentState::Detaching;
            }
        }
    }

    /// EC2 said that the interface does not exist any more.
    pub fn deleted(&mut self, eni: &EniId, now: Instant) {
        self.forget(eni, now);
        for known in self.instances.values_mut() {
            known.value.interfaces.retain(|place| place.eni != *eni);
        }
        self.elastic_ips.left_by(eni);
        self.gone.insert(eni.clone(), now);
    }

    /// Drops what is known of an interface, so that it is asked for anew.
    pub fn forget(&mut self, id: &EniId, now: Instant) {
        self.lately.forget(id);
        if let Some(known) = self.enis.remove(id) {
            self.lost.insert(id.clone(), now);
            if let Some(uid) = known.value.record() {
                self.by_record.remove(&(uid.to_owned(), id.clone()));
            }
        }
    }

    fn insert(&mut self, eni: Eni, written: Option<Instant>) {
        let marked = self
            .eni(&eni.id)
            .and_then(Eni::record)
            .map(ToOwned::to_owned);
        if let Some(uid) = marked.filter(|uid| eni.record() != Some(uid)) {
            self.by_record.remove(&(uid, eni.id.clone()));
        }
        if let Some(uid) = eni.record() {
            self.by_record.insert((uid.to_owned(), eni.id.clone()));
        }
        // An interface that left its instance leaves its place there, too.
        let instance = eni.attachment.as_ref().map(|a| a.instance.clone());
        if instance.is_none()
            && let Some(old) = self.eni(&eni.id).and_then(|old| old.attachment.as_ref())
        {
            let old = old.instance.clone();
            if let Some(known) = self.instances.get_mut(&old) {
                known.value.interfaces.retain(|place| place.eni != eni.id);
            }
        }
        self.enis.insert(
            eni.id.clone(),
            Known {
                value: eni,
                written,
            },
        );
    }

    /// Whether a call of ours changed it so lately that a read begun at `begun` may lack it.
    fn is_recent(&self, id: &EniId, begun: Instant) -> bool {
        self.enis
            .get(id)
            .and_then(|known| known.written)
            .or(self.births.get(id).copied())
            .is_some_and(|at| begun < at + self.grace)
    }
}

#[cfg(test)]
mod tests;
