//! Tells news from the echo of our own writes, which a watch repeats later.

use std::collections::BTreeSet;

use eniway_api::{EniId, NodeEni, NodeEniAttachment};
use kube::ResourceExt as _;

use super::Cache;
use crate::desired::{Declared, Node};

impl Cache {
    /// Whether the node is known as it is, or newer.
    pub(super) fn is_no_news_node(&self, node: &Node) -> bool {
        let known = self
            .nodes
            .get(&node.name)
            .filter(|known| known.uid == node.uid);
        known.is_some_and(|known| known.version > node.version || known == node)
    }

    /// Whether the record is known as it is, or newer.
    pub(super) fn is_no_news(&self, record: &NodeEniAttachment) -> bool {
        let version = |record: &NodeEniAttachment| {
            let version = record.resource_version()?;
            version.parse::<u64>().ok()
        };
        self.records
            .get(&record.name_any())
            .is_some_and(|known| known.uid() == record.uid() && version(known) >= version(record))
    }

    /// Whether two versions of a NodeENI ask the same of nodes. The list of its status asks, too, where it names
    /// what no record has: J's interfaces, which are adopted by it.
    pub(crate) fn asks_the_same(&self, old: &Declared, new: &Declared) -> bool {
        let (Declared::Readable(old), Declared::Readable(new)) = (old, new) else {
            return false;
        };
        let asks = |one: &NodeEni| {
            let meta = &one.metadata;
            let deleting = meta.deletion_timestamp.is_some();
            (
                meta.uid.clone(),
                meta.generation,
                deleting,
                meta.annotations.clone(),
            )
        };
        if asks(old) != asks(new) {
            return false;
        }
        let recorded: BTreeSet<_> = self
            .records
            .values()
            .filter(|record| Some(&record.spec.node_eni.uid) == new.metadata.uid.as_ref())
            .filter_map(|record| record.status.as_ref()?.ec2.as_ref()?.eni_id.as_ref())
            .collect();
        let listed = |one: &NodeEni| -> BTreeSet<EniId> {
            let entries = one.status.iter().flat_map(|status| &status.attachments);
            let ids = entries.filter_map(|entry| entry.eni_id.as_ref());
            ids.filter(|id| !recorded.contains(id)).cloned().collect()
        };
        listed(old) == listed(new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eniway_api::{AttachmentSummary, Ec2Status, NodeEniAttachmentStatus, NodeEniStatus};

    use super::*;
    use crate::kubernetes::Change;

    fn record(version: &str) -> NodeEniAttachment {
        let mut record = NodeEniAttachment::new("record", Default::default());
        record.metadata.uid = Some("uid".to_owned());
        record.metadata.resource_version = Some(version.to_owned());
        record.spec.node_eni.uid = "node-eni".to_owned();
        record.status = Some(NodeEniAttachmentStatus {
            ec2: Some(Ec2Status {
                eni_id: Some("eni-ours".into()),
                ..Ec2Status::default()
            }),
            ..NodeEniAttachmentStatus::default()
        });
        record
    }

    #[test]
    fn the_echo_of_a_write_concerns_nobody_and_what_is_newer_does() {
        let mut cache = Cache::default();
        cache.wrote(record("5"));
        for (version, concerned) in [("4", 0), ("5", 0), ("6", 2)] {
            let change = Change::Is(Arc::new(record(version)));
            assert_eq!(cache.take_record(change).len(), concerned, "{version}");
        }
        let node = |version| Node {
            name: "node".to_owned(),
            version,
            ..Node::default()
        };
        cache.wrote_node(node(5));
        for (version, concerned) in [(4, 0), (5, 0), (6, 2)] {
            let change = Change::Is(node(version));
            assert_eq!(cache.take_node(change).len(), concerned, "{version}");
        }
    }

    #[test]
    fn a_node_eni_asks_the_same_until_its_spec_changes_or_it_lists_a_strangers_interface() {
        let mut cache = Cache::default();
        cache.wrote(record("1"));
        let node_eni = |generation, listed: &[&str]| {
            let mut node_eni = NodeEni::new("n", Default::default());
            node_eni.metadata.uid = Some("node-eni".to_owned());
            node_eni.metadata.generation = Some(generation);
            let entry = |id: &&str| AttachmentSummary {
                eni_id: Some((*id).into()),
                ..AttachmentSummary::default()
            };
            node_eni.status = Some(NodeEniStatus {
                attachments: listed.iter().map(entry).collect(),
                ..NodeEniStatus::default()
            });
            Declared::Readable(Arc::new(node_eni))
        };
        let old = node_eni(1, &[]);
        assert!(cache.asks_the_same(&old, &node_eni(1, &["eni-ours"])));
        assert!(!cache.asks_the_same(&old, &node_eni(1, &["eni-ours", "eni-peers"])));
        assert!(!cache.asks_the_same(&old, &node_eni(2, &[])));
        let Declared::Readable(marked) = &old else {
            unreachable!()
        };
        let mut marked = NodeEni::clone(marked);
        marked
            .annotations_mut()
            .insert("confirm".to_owned(), "1".to_owned());
        let marked = Declared::Readable(Arc::new(marked));
        assert!(!cache.asks_the_same(&old, &marked));
    }
}
