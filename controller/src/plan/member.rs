//! The way of a record that holds a member of a pool: looked at, marked, looked at again, attached;
//! and given back.
//!
//! The member was there before, and stays. Others may take members of the same pool, from another
//! cluster: what EC2 says now counts before the mark is set, and again before the interface is
//! attached. EC2 itself attaches it to one instance only.

use std::collections::{BTreeMap, BTreeSet};

use eniway_api::{NodeEniAttachment, PoolPlace, mark};
use eniway_ec2::{Eni, InstanceState};

use super::{Cluster, Note, Planner, progressing, release::releasing, tags, uid};
use crate::{
    action::{Action, Look, Target},
    memory::{Creation, Memory},
};

impl<'a> Planner<'a> {
    /// Pushes the next steps and says what is awaited.
    pub(super) fn member(
        &mut self,
        record: &'a NodeEniAttachment,
        place: &PoolPlace,
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        let id = &place.eni_id;
        let leaves = record.metadata.deletion_timestamp.is_some();
        let Some(eni) = self.observed.snapshot.eni(id) else {
            if !self.observed.snapshot.is_gone(id) {
                self.look(memory, Look::Eni(id.clone(), on.uid.clone()));
                return progressing(format!("asking EC2 what became of {id}"));
            }
            if leaves {
                let name = on.record.clone();
                self.push(Action::DropFinalizer { name });
            }
            return progressing(format!("{id} is gone"));
        };
        if leaves {
            return self.give_back(record, eni, memory, on);
        }
        let marked = tags::marked(record, self.observed.cluster, eni);
        let attached = marked && eni.attachment.is_some();
        if !attached && !memory.is_sure() {
            self.look(memory, Look::Eni(id.clone(), on.uid.clone()));
            return progressing(format!("asking EC2 whether somebody else takes {id}"));
        }
        if !marked {
            self.tags(record, eni, on);
            return progressing(format!("{id} is being marked"));
        }
        self.attributes(record, eni, on);
        match &eni.attachment {
            None => self.attach(record, eni, on),
            Some(attachment) => self.attached(record, eni, attachment, memory, on),
        }
    }

    /// Detached as any other, then without our marks: the pool has it back.
    fn give_back(
        &mut self,
        record: &'a NodeEniAttachment,
        eni: &Eni,
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        let marked = tags::marked(record, self.observed.cluster, eni);
        let attachment = eni.attachment.as_ref();
        if attachment.is_some_and(|one| one.instance == record.spec.instance_id) {
            if marked {
                return self.release_one(record, eni, memory, on);
            }
            // Somebody took the mark off what we attached; without it we touch nothing.
            if was_attached(record) && !is_marked_by_another(record, self.observed.cluster, eni) {
                self.tags(record, eni, on);
                return releasing(format!("{} gets its mark back", eni.id));
            }
        }
        // A call may have attached it, or marked it, and no read shows it yet.
        let last = self.last_attach(record, memory).max(memory.marking);
        let shown = last.map(|at| at + self.observed.grace);
        if let Some(at) = shown.filter(|at| *at > self.now.monotonic) {
            self.wake(at);
            return releasing(format!("waiting until EC2 shows what became of {}", eni.id));
        }
        if !memory.is_sure() || memory.asked < shown {
            self.look(memory, Look::Eni(eni.id.clone(), on.uid.clone()));
            return releasing(format!("asking EC2 what became of {}", eni.id));
        }
        // Also what bears its mark in part: the call that set it may have gone by an old read.
        let another = is_marked_by_another(record, self.observed.cluster, eni);
        if marked || (eni.record() == Some(uid(record)) && !another) {
            self.push(Action::Untag {
                on: on.clone(),
                eni: eni.id.clone(),
                keys: marks_of_holder(eni),
            });
            return releasing(format!("{} is being given back", eni.id));
        }
        let name = on.record.clone();
        self.push(Action::DropFinalizer { name });
        progressing("given back")
    }

    /// When it was last told to be attached, if what EC2 shows may be older than that.
    fn last_attach(
        &self,
        record: &NodeEniAttachment,
        memory: &Memory,
    ) -> Option<std::time::Instant> {
        let id = &record.spec.instance_id;
        let snapshot = self.observed.snapshot;
        let state = snapshot.instance(id).map(|instance| instance.state);
        if state == Some(InstanceState::Terminated) || snapshot.is_missing(id) {
            return None;
        }
        match (memory.attaching, &memory.creation) {
            (Some(at), _) => Some(at),
            (None, Creation::Untried) => None,
            // What was shown attached and is not now has been detached since.
            (None, _) if was_attached(record) => None,
            (None, _) => Some(self.observed.leading_since),
        }
    }
}

fn was_attached(record: &NodeEniAttachment) -> bool {
    let ec2 = record.status.as_ref();
    let ec2 = ec2.and_then(|status| status.ec2.as_ref());
    ec2.is_some_and(|ec2| ec2.attachment_id.is_some())
}

/// Whether its instance has the member, or nobody: only then its state is the record's.
pub(super) fn is_here(record: &NodeEniAttachment, eni: &Eni) -> bool {
    let attachment = eni.attachment.as_ref();
    record.spec.pool.is_none()
        || attachment.is_none_or(|one| one.instance == record.spec.instance_id)
}

fn is_marked_by_another(record: &NodeEniAttachment, cluster: &Cluster, eni: &Eni) -> bool {
    let of_cluster = eni.tags.get(mark::TAG_CLUSTER_UID);
    of_cluster.is_some_and(|uid| *uid != cluster.uid)
        || eni.record().is_some_and(|one| one != uid(record))
}

/// The tags by which a cluster and a record hold a member. Its own tags stay its owner's.
pub(super) fn marks(record: &NodeEniAttachment, cluster: &Cluster) -> BTreeMap<String, String> {
    let marks = [
        (mark::TAG_NO_MANAGE, "true"),
        (mark::TAG_CLUSTER, &cluster.name),
        (mark::TAG_CLUSTER_UID, &cluster.uid),
        (mark::TAG_NODE_ENI_UID, &record.spec.node_eni.uid),
        (mark::TAG_ATTACHMENT, uid(record)),
        (mark::TAG_ROLE, mark::Role::Pool.as_str()),
    ];
    let cut = |value: &str| value.chars().take(256).collect();
    let marks = marks.map(|(key, value)| (key.to_owned(), cut(value)));
    BTreeMap::from(marks)
}

/// The marks that go when a member is given back. What eniway made stays the cluster's; and the VPC
/// CNI is kept away from it for good.
pub(crate) fn marks_of_holder(eni: &Eni) -> BTreeSet<String> {
    let made = eni.tags.contains_key(mark::TAG_POOL);
    let holder = [mark::TAG_ATTACHMENT, mark::TAG_NODE_ENI_UID];
    let cluster = [mark::TAG_CLUSTER, mark::TAG_CLUSTER_UID, mark::TAG_ROLE];
    let cluster = cluster.into_iter().filter(|_| !made);
    let keys = holder.into_iter().chain(cluster);
    keys.filter(|key| eni.tags.contains_key(key))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests;
