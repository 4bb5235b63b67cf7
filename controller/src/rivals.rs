//! Says who has an address that a record asks for by name: an address is on one interface at a time.
//!
//! Pure. Who has it in EC2 comes first, then who has begun to take it, then the oldest who asks.

use std::{cmp::Reverse, collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use eniway_api::NodeEniAttachment;
use ipnet::IpNet;
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::plan::Rivals;

/// A record's claim on an address; the greatest one wins.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Asks(Reverse<(Option<Timestamp>, String)>),
    Begun,
    Has,
}

/// For each address that one of `records` asks for, the other record that has the better claim.
#[must_use]
pub fn rivals(
    records: &[Arc<NodeEniAttachment>],
    all: &BTreeMap<String, Arc<NodeEniAttachment>>,
) -> Rivals {
    let mut rivals = Rivals::new();
    for record in records {
        let ipv4 = record.spec.ipv4.as_ref();
        for address in ipv4
            .map(|ipv4| ipv4.addresses.as_slice())
            .unwrap_or_default()
        {
            let own = claim(record, *address);
            let others = all
                .values()
                .filter(|other| other.metadata.uid != record.metadata.uid);
            let best = others
                .filter_map(|other| Some((claim(other, *address)?, other)))
                .max_by(|(one, _), (other, _)| one.cmp(other));
            if let Some((claim, other)) = best
                && Some(claim) > own
            {
                rivals.insert((record.name_any(), *address), said(other));
            }
        }
    }
    rivals
}

fn claim(record: &NodeEniAttachment, address: Ipv4Addr) -> Option<Claim> {
    let status = record.status.as_ref();
    let ec2 = status.and_then(|status| status.ec2.as_ref());
    let entry = IpNet::from(std::net::IpAddr::from(address));
    let begun = ec2.and_then(|ec2| ec2.assigning.as_ref());
    if ec2.is_some_and(|ec2| ec2.addresses.contains(&entry)) {
        return Some(Claim::Has);
    }
    if begun.is_some_and(|begun| begun.asked.addresses.contains(&address)) {
        return Some(Claim::Begun);
    }
    let ipv4 = record.spec.ipv4.as_ref()?;
    let asks = record.metadata.deletion_timestamp.is_none() && ipv4.addresses.contains(&address);
    let created = record.metadata.creation_timestamp.as_ref();
    asks.then(|| Claim::Asks(Reverse((created.map(|time| time.0), record.name_any()))))
}

fn said(record: &NodeEniAttachment) -> String {
    let going = match record.metadata.deletion_timestamp {
        Some(_) => ", which is being released,",
        None => "",
    };
    format!(
        "{} on node {}{going}",
        record.name_any(),
        record.spec.node_name
    )
}

#[cfg(test)]
mod tests {
    use eniway_api::{Asked, Assigning, Ec2Status, Ipv4Wish, NodeEniAttachmentSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

    /// A record that asks for the address, so many seconds old, and what its status says.
    fn record(name: &str, seconds: i64, status: &str) -> Arc<NodeEniAttachment> {
        let spec = NodeEniAttachmentSpec {
            node_name: format!("node-{name}"),
            ipv4: Some(Ipv4Wish {
                addresses: vec![ADDRESS],
                ..Ipv4Wish::default()
            }),
            ..NodeEniAttachmentSpec::default()
        };
        let mut record = NodeEniAttachment::new(name, spec);
        let created = Timestamp::from_second(1_000 - seconds).unwrap();
        record.metadata.uid = Some(name.to_owned());
        record.metadata.creation_timestamp = Some(Time(created));
        let asked = Asked {
            addresses: vec![ADDRESS],
            ..Asked::default()
        };
        let begun = Assigning {
            asked,
            before: Vec::new(),
        };
        record.status.get_or_insert_default().ec2 = Some(Ec2Status {
            addresses: (status == "has")
                .then(|| std::net::IpAddr::from(ADDRESS).into())
                .into_iter()
                .collect(),
            assigning: (status == "begun").then_some(begun),
            ..Ec2Status::default()
        });
        Arc::new(record)
    }

    /// Who is told that another has the address.
    #[track_caller]
    fn check(one: (i64, &str), other: (i64, &str), told: &[&str]) {
        let records = [
            record("one", one.0, one.1),
            record("other", other.0, other.1),
        ];
        let all = records
            .iter()
            .map(|record| (record.name_any(), Arc::clone(record)));
        let rivals = rivals(&records, &all.collect());
        let names: Vec<_> = rivals.keys().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, told);
    }

    #[test]
    fn who_has_it_comes_before_who_begins_and_that_one_before_the_oldest() {
        check((9, ""), (8, ""), &["other"]);
        check((8, ""), (9, ""), &["one"]);
        check((9, ""), (8, "begun"), &["one"]);
        check((9, "begun"), (8, "has"), &["one"]);
        check((9, "has"), (8, "has"), &[]);
    }

    #[test]
    fn the_holder_is_named_with_its_node() {
        let records = [record("one", 9, "has"), record("other", 8, "")];
        let all = records
            .iter()
            .map(|record| (record.name_any(), Arc::clone(record)));
        let rivals = rivals(&records, &all.collect());
        assert_eq!(
            rivals[&("other".to_owned(), ADDRESS)],
            "one on node node-one"
        );
    }
}
