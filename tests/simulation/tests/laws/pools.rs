//! Pools in the simulated cluster: who made their members, who shares them, and the laws about them.

use std::collections::{BTreeMap, BTreeSet};

use ec2_sim::{EniId, InstanceState, Interface, Request};
use eniway_api::{
    Address, EniPool, EniPoolSpec, NodeEni, NodeEniSpec, PoolMember, PoolRef, TagSelector, mark,
    node_eni::Tag,
};
use kube::ResourceExt as _;

use crate::cluster::Cluster;
use simulation::small_cloud::{subnet, zone};

/// `p0` comes from a pool whose members its users made, `p1` from one whose members eniway makes.
pub(crate) const POOLS: usize = 2;
/// The numbers of the subnets in which a pool has its members: fewer than there are nodes.
const MEMBERS: [&[usize]; POOLS] = [&[0, 2, 1], &[0, 1]];

const TAG: &str = "network-interface-manager-pool";
const RIVAL: &str = "another-cluster";

fn address(pool: u8, subnet: usize) -> std::net::Ipv4Addr {
    let third = u8::try_from(subnet).unwrap();
    std::net::Ipv4Addr::new(10, 0, third, 200 + pool)
}

/// The pools are there from the beginning, and so are the members of the first.
pub(crate) fn begin(cluster: &Cluster) {
    for number in MEMBERS[0] {
        let create = Request::new("CreateNetworkInterface")
            .with("SubnetId", subnet(*number))
            .with("PrivateIpAddress", address(0, *number))
            .with("TagSpecification.1.ResourceType", "network-interface")
            .with("TagSpecification.1.Tag.1.Key", TAG)
            .with("TagSpecification.1.Tag.1.Value", "shared");
        cluster.by_hand(&create).unwrap();
    }
    let tags = BTreeMap::from([(TAG.to_owned(), Tag("shared".to_owned()))]);
    let made = MEMBERS[1].iter().map(|number| PoolMember {
        subnet_id: subnet(*number).as_str().into(),
        address: Address(address(1, *number)),
    });
    let specs = [
        EniPoolSpec {
            selector: Some(TagSelector { tags }),
            ..EniPoolSpec::default()
        },
        EniPoolSpec {
            members: made.collect(),
            security_group_names: vec!["multus".to_owned()],
            ..EniPoolSpec::default()
        },
    ];
    for (number, spec) in specs.into_iter().enumerate() {
        let mut pool = EniPool::new(&format!("p{number}"), spec);
        pool.metadata.uid = Some(format!("pool-{number}"));
        pool.metadata.generation = Some(1);
        cluster.api.store().put_pool(pool);
    }
}

/// What a user applies.
pub(crate) fn node_eni(number: usize) -> NodeEni {
    let name = format!("p{number}");
    let spec = NodeEniSpec {
        node_selector: BTreeMap::from([("ng".to_owned(), "multi".to_owned())]),
        pool_ref: Some(PoolRef { name: name.clone() }),
        ..NodeEniSpec::default()
    };
    NodeEni::new(&name, spec)
}

/// The pool whose member it is.
fn pool_of(eni: &Interface) -> Option<usize> {
    let made = eni.tags.get(mark::TAG_POOL).map(String::as_str);
    match (eni.tags.contains_key(TAG), made) {
        (true, _) => Some(0),
        (false, Some("p1")) => Some(1),
        (false, _) => None,
    }
}

pub(crate) fn is_member(eni: &Interface) -> bool {
    pool_of(eni).is_some()
}

/// The NodeENIs whose member is on the instance.
pub(crate) fn lent(cluster: &Cluster, instance: &str) -> BTreeSet<String> {
    let here = |eni: &Interface| {
        let attachment = eni.attachment.as_ref();
        attachment.is_some_and(|it| it.instance.as_str() == instance)
    };
    let members = members(cluster);
    let lent = members.iter().filter(|eni| here(eni));
    let lent = lent.filter_map(pool_of);
    lent.map(|number| format!("p{number}")).collect()
}

fn is_rivals(eni: &Interface) -> bool {
    eni.tags.get(mark::TAG_CLUSTER_UID).map(String::as_str) == Some(RIVAL)
}

fn members(cluster: &Cluster) -> Vec<Interface> {
    let world = cluster.door.world();
    world
        .interfaces()
        .filter(|eni| is_member(eni))
        .cloned()
        .collect()
}

/// Another cluster, which shares the first pool, marks a member that is free.
pub(crate) fn rival_takes(cluster: &Cluster) -> Option<EniId> {
    let members = members(cluster);
    let free = |eni: &&Interface| {
        let marked = eni.tags.contains_key(mark::TAG_CLUSTER_UID);
        pool_of(eni) == Some(0) && eni.attachment.is_none() && !marked
    };
    let eni = members.iter().find(free)?;
    let mark = Request::new("CreateTags")
        .with("ResourceId.1", &eni.id)
        .with("Tag.1.Key", mark::TAG_CLUSTER_UID)
        .with("Tag.1.Value", RIVAL)
        .with("Tag.2.Key", mark::TAG_ATTACHMENT)
        .with("Tag.2.Value", "a-record-of-another-cluster");
    cluster.by_hand(&mark)?;
    Some(eni.id.clone())
}

/// It gives back what it still has.
pub(crate) fn rival_leaves(cluster: &Cluster) {
    for eni in members(cluster).iter().filter(|eni| is_rivals(eni)) {
        let unmark = Request::new("DeleteTags")
            .with("ResourceId.1", &eni.id)
            .with("Tag.1.Key", mark::TAG_CLUSTER_UID)
            .with("Tag.2.Key", mark::TAG_ATTACHMENT);
        cluster.by_hand(&unmark);
    }
}

/// Every law about pools that is broken now.
pub(crate) fn broken(cluster: &Cluster, broken: &mut Vec<String>) {
    for (number, places) in MEMBERS.iter().enumerate() {
        let all = members(cluster).into_iter();
        let members: Vec<_> = all.filter(|eni| pool_of(eni) == Some(number)).collect();
        let (has, had) = (members.len(), places.len());
        if has != had {
            broken.push(format!("pool p{number} has {has} members instead of {had}"));
        }
        for name in ["a", "b"] {
            let here = members.iter().filter(|eni| eni.zone == name);
            zone_of_pool(cluster, number, name, &here.collect::<Vec<_>>(), broken);
        }
    }
    let store = cluster.api.store();
    let records = store.records().filter(|one| one.spec.pool.is_some());
    let attached = members(cluster);
    let attached = attached.iter().filter(|eni| eni.attachment.is_some());
    let (records, attached) = (records.count(), attached.count());
    if records != attached {
        broken.push(format!(
            "{records} records for {attached} members that are attached"
        ));
    }
}

fn zone_of_pool(
    cluster: &Cluster,
    number: usize,
    name: &str,
    members: &[&Interface],
    broken: &mut Vec<String>,
) {
    let mut waiting = instances(cluster, number, name);
    let mut free = 0;
    for eni in members {
        let Some(attachment) = &eni.attachment else {
            free += 1;
            if eni.tags.contains_key(mark::TAG_ATTACHMENT) {
                broken.push(format!("{} is free and bears a mark", eni.id));
            }
            continue;
        };
        let instance = attachment.instance.to_string();
        if !waiting.remove(&instance) {
            broken.push(format!(
                "nobody wants {} on {instance}, or it is there twice",
                eni.id
            ));
        }
        if attachment.delete_on_termination {
            broken.push(format!("{} goes with its instance", eni.id));
        }
        let store = cluster.api.store();
        let held = store.records().any(|record| {
            let place = record.spec.pool.as_ref();
            place.is_some_and(|place| place.eni_id.as_str() == eni.id.as_str())
                && record.spec.instance_id.as_str() == instance
                && record.uid().as_ref() == eni.tags.get(mark::TAG_ATTACHMENT)
        });
        if !held {
            broken.push(format!("no record holds {} on {instance}", eni.id));
        }
    }
    if free > 0 && !waiting.is_empty() {
        broken.push(format!(
            "{free} of pool p{number} are free, and {waiting:?} wait"
        ));
    }
}

/// The running instances in a zone that should have a member.
fn instances(cluster: &Cluster, number: usize, name: &str) -> BTreeSet<String> {
    let store = cluster.api.store();
    let asked = store
        .node_enis()
        .any(|one| one.name_any() == format!("p{number}"));
    let nodes = store
        .nodes()
        .filter(|node| asked && !node.labels.is_empty());
    let ids = nodes.filter_map(|node| Some(node.instance()?.to_string()));
    let ids: Vec<_> = ids.collect();
    drop(store);
    let there = |id: &String| {
        let number = usize::from_str_radix(&id[6..], 16).unwrap();
        zone(number) == name && cluster.state(id) == Some(InstanceState::Running)
    };
    ids.into_iter().filter(there).collect()
}
