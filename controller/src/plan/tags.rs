//! Decides which tags an interface gets and loses: ours and the user's, and nobody else's.
//!
//! The tags are how eniway knows its own. Whoever changes them by hand hides the interface from the
//! whole reads; the record still names it, a look by its ID shows it, and its tags are repaired before
//! anything else is done to it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use eniway_api::{DeletionPolicy, NodeEniAttachment, NodeEniAttachmentSpec, mark};
use eniway_ec2::Eni;
use jiff::Timestamp;

use super::{Cluster, Planner, member, uid};
use crate::action::{Action, Target};

impl Planner<'_> {
    /// Has the interface bear what it should, and no tag that the user has given up.
    pub(super) fn tags(&mut self, record: &NodeEniAttachment, eni: &Eni, on: &Target) {
        // Every plan of every interface asks, and nearly always nothing is to do.
        if record.spec.former_tags.is_empty() && bears_all(record, self.observed.cluster, eni) {
            return;
        }
        let mut tags = wanted(record, self.observed.cluster);
        let former = record.spec.former_tags.iter();
        let keys: BTreeSet<_> = former
            .filter(|key| eni.tags.contains_key(key) && !tags.contains_key(*key))
            .cloned()
            .collect();
        tags.retain(|key, value| eni.tags.get(key) != Some(value));
        let eni = &eni.id;
        // Room first: EC2 takes 50 tags.
        if !keys.is_empty() {
            let (on, eni) = (on.clone(), eni.clone());
            self.push(Action::Untag { on, eni, keys });
        }
        if !tags.is_empty() {
            let (on, eni) = (on.clone(), eni.clone());
            self.push(Action::Tag { on, eni, tags });
        }
    }
}

/// Whether the interface bears the marks by which whole reads find it and tell whose it is.
pub(super) fn marked(record: &NodeEniAttachment, cluster: &Cluster, eni: &Eni) -> bool {
    eni.record() == Some(uid(record)) && eni.tags.get(mark::TAG_CLUSTER_UID) == Some(&cluster.uid)
}

/// The keys that `next` does not ask for any more and that the interface may still bear: written down
/// together with the wish that drops them, so that no crash forgets which tags were ours.
pub(super) fn former(
    record: &NodeEniAttachment,
    next: &NodeEniAttachmentSpec,
    eni: Option<&Eni>,
) -> BTreeSet<String> {
    let old = &record.spec;
    let dropped = old.tags.keys().filter(|key| !next.tags.contains_key(*key));
    let waiting = old.former_tags.iter().filter(|key| {
        let borne = eni.is_none_or(|eni| eni.tags.contains_key(key));
        borne && !next.tags.contains_key(*key)
    });
    dropped.chain(waiting).cloned().collect()
}

/// The tags that the record's interface should bear: the user's, then ours.
pub(super) fn wanted(record: &NodeEniAttachment, cluster: &Cluster) -> BTreeMap<String, String> {
    if record.spec.pool.is_some() {
        return member::marks(record, cluster);
    }
    let mut tags = record.spec.tags.clone();
    for (key, value) in ours(record, cluster) {
        // A user's `Name` stays.
        if key == mark::peer::TAG_NAME {
            tags.entry(key.to_owned()).or_insert(value.into_owned());
        } else {
            tags.insert(key.to_owned(), value.into_owned());
        }
    }
    tags
}

/// Whether the interface has every tag that it should.
fn bears_all(record: &NodeEniAttachment, cluster: &Cluster, eni: &Eni) -> bool {
    if record.spec.pool.is_some() {
        let marks = member::marks(record, cluster);
        return marks
            .iter()
            .all(|(key, value)| eni.tags.get(key) == Some(value));
    }
    let asked = &record.spec.tags;
    let ours = ours(record, cluster);
    let is_ours = |key: &str| ours.iter().any(|(ours, _)| *ours == key);
    ours.iter().all(|(key, value)| {
        let named = *key == mark::peer::TAG_NAME && asked.contains_key(*key);
        named || eni.tags.get(key).is_some_and(|borne| borne == value)
    }) && asked.iter().all(|(key, value)| {
        let replaced = key != mark::peer::TAG_NAME && is_ours(key);
        replaced || eni.tags.get(key) == Some(value)
    })
}

/// Our tags, but for those of members of pools.
fn ours<'a>(
    record: &'a NodeEniAttachment,
    cluster: &'a Cluster,
) -> [(&'static str, Cow<'a, str>); 12] {
    let spec = &record.spec;
    let subnet = spec.subnet_id.as_str();
    let last8 = &subnet[subnet.len().saturating_sub(8)..];
    let name = format!("nodeeni-{}-{}-{last8}", spec.node_eni.name, spec.node_name);
    // Of the record's making, not of the call's: a repeated request must be the same request.
    let created = record
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let leaving = record.metadata.deletion_timestamp.is_some();
    let role = match spec.deletion_policy {
        DeletionPolicy::Retain if leaving => mark::Role::Retained,
        DeletionPolicy::Retain | DeletionPolicy::Delete => mark::Role::Attachment,
    };
    [
        (mark::peer::TAG_NAME, Cow::Owned(name)),
        (mark::peer::TAG_NODE_ENI, spec.node_eni.name.as_str().into()),
        (mark::peer::TAG_NODE, spec.node_name.as_str().into()),
        (mark::peer::TAG_SUBNET, subnet.into()),
        (mark::peer::TAG_MANAGED_BY, mark::peer::MANAGED_BY.into()),
        (mark::TAG_NO_MANAGE, "true".into()),
        (mark::TAG_CLUSTER, cluster.name.as_str().into()),
        (mark::TAG_CLUSTER_UID, cluster.uid.as_str().into()),
        (mark::TAG_NODE_ENI_UID, spec.node_eni.uid.as_str().into()),
        (mark::TAG_ATTACHMENT, uid(record).into()),
        (mark::TAG_ROLE, role.as_str().into()),
        (mark::TAG_CREATED_AT, created.to_string().into()),
    ]
    .map(|(key, value)| (key, shortened(value)))
}

/// EC2 takes 256 characters.
fn shortened(value: Cow<'_, str>) -> Cow<'_, str> {
    match value.char_indices().nth(256) {
        Some((end, _)) => Cow::Owned(value[..end].to_owned()),
        None => value,
    }
}
