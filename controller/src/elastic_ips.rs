//! Says which Elastic IP a record gets: one that it asks for, that nothing has, and that no other record
//! has chosen.
//!
//! Pure. What is chosen is written into the record's status before EC2 is called, and EC2 is told not to
//! take it from another: so two records never have the same one, whoever decides for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eniway_api::{AllocationId, ElasticIpClaim, ElasticIpWish, NodeEniAttachment};
use eniway_ec2::ElasticIp;
use kube::ResourceExt as _;

/// What records that have none get, by their names; a record is absent where none is free.
pub type Choices = BTreeMap<String, AllocationId>;

/// The Elastic IP that the record has, or is about to have.
pub(crate) fn claimed(record: &NodeEniAttachment) -> Option<&ElasticIpClaim> {
    record.status.as_ref()?.ec2.as_ref()?.elastic_ip.as_ref()
}

/// Whether the record asks for an Elastic IP and has chosen none.
pub(crate) fn waits(record: &NodeEniAttachment) -> bool {
    record.metadata.deletion_timestamp.is_none()
        && record.spec.elastic_ip.is_some()
        && claimed(record).is_none()
}

/// Chooses for those of `records` that wait. `taken` are the choices of others.
#[must_use]
pub fn choose(
    records: &[Arc<NodeEniAttachment>],
    taken: &BTreeSet<AllocationId>,
    known: &BTreeMap<AllocationId, ElasticIp>,
) -> Choices {
    let mut choices = Choices::new();
    let mut taken = taken.clone();
    for record in records.iter().filter(|record| waits(record)) {
        let Some(wish) = &record.spec.elastic_ip else {
            continue;
        };
        let mut candidates = named(wish, known);
        let free = candidates.find(|one| !one.is_associated && !taken.contains(&one.id));
        if let Some(one) = free {
            taken.insert(one.id.clone());
            choices.insert(record.name_any(), one.id.clone());
        }
    }
    choices
}

/// Those that a wish means: in the order that it names them, else by ID.
pub(crate) fn named<'a>(
    wish: &'a ElasticIpWish,
    known: &'a BTreeMap<AllocationId, ElasticIp>,
) -> impl Iterator<Item = &'a ElasticIp> {
    let by_id = wish.allocation_ids.iter().filter_map(|id| known.get(id));
    let by_tags = known
        .values()
        .filter(|one| wish.allocation_ids.is_empty() && wish.names(&one.id, &one.tags));
    by_id.chain(by_tags)
}

#[cfg(test)]
mod tests {
    use eniway_api::{Ec2Status, NodeEniAttachmentSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn id(number: &str) -> AllocationId {
        format!("eipalloc-{number}").into()
    }

    /// `1 2=edge 3!`: three of them, one of the tier edge, one that something has.
    fn known(text: &str) -> BTreeMap<AllocationId, ElasticIp> {
        let one = |word: &str| {
            let number = word.trim_end_matches('!');
            let (number, tier) = number.split_once('=').unwrap_or((number, "none"));
            ElasticIp {
                id: id(number),
                public_ip: [203, 0, 113, 1].into(),
                is_associated: word.ends_with('!'),
                eni: None,
                tags: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
            }
        };
        let all = text.split_whitespace().map(one);
        all.map(|one| (one.id.clone(), one)).collect()
    }

    /// A record that asks for these, by ID or by `tier=…`.
    fn record(name: &str, asked: &str) -> NodeEniAttachment {
        let mut wish = ElasticIpWish::default();
        for word in asked.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => {
                    let tag = serde_json::from_value(value.into()).unwrap();
                    wish.tags.insert(key.to_owned(), tag);
                }
                None => wish.allocation_ids.push(id(word)),
            }
        }
        let spec = NodeEniAttachmentSpec {
            elastic_ip: Some(wish),
            ..NodeEniAttachmentSpec::default()
        };
        NodeEniAttachment::new(name, spec)
    }

    #[track_caller]
    fn check(records: Vec<NodeEniAttachment>, taken: &str, there: &str, expected: &str) {
        let records: Vec<_> = records.into_iter().map(Arc::new).collect();
        let taken = taken.split_whitespace().map(id).collect();
        let chosen = choose(&records, &taken, &known(there));
        let said: Vec<_> = chosen
            .iter()
            .map(|(name, id)| format!("{name}:{}", id.as_str().trim_start_matches("eipalloc-")))
            .collect();
        assert_eq!(said.join(" "), expected);
    }

    #[test]
    fn the_first_free_one_of_the_list_is_chosen_and_each_once() {
        let two = || vec![record("a", "3 1"), record("b", "3 1")];
        check(two(), "", "1 2 3", "a:3 b:1");
        check(two(), "", "1 2 3!", "a:1");
        check(two(), "1 3", "1 2 3", "");
        check(two(), "", "2", "");
    }

    #[test]
    fn by_tags_the_first_one_is_chosen_that_bears_them() {
        check(vec![record("a", "tier=edge")], "", "1 2=edge 3=edge", "a:2");
        check(
            vec![record("a", "tier=edge")],
            "2",
            "1 2=edge 3=edge",
            "a:3",
        );
        check(vec![record("a", "tier=core")], "", "1 2=edge", "");
    }

    #[test]
    fn who_has_one_or_leaves_gets_none() {
        let mut has = record("a", "1");
        has.status.get_or_insert_default().ec2 = Some(Ec2Status {
            elastic_ip: Some(ElasticIpClaim {
                allocation_id: id("9"),
                association_id: None,
            }),
            ..Ec2Status::default()
        });
        let mut leaves = record("b", "1");
        leaves.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        let asks_nothing = NodeEniAttachment::new("c", NodeEniAttachmentSpec::default());
        check(vec![has, leaves, asks_nothing], "", "1", "");
    }
}
