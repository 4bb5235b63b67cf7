//! What must hold once it is calm, worked out anew from what users said and what Amazon has.

use std::collections::BTreeSet;

use ec2_sim::InstanceState;
use eniway_api::{NodeEni, SubnetPolicy, mark};
use eniway_controller::desired::Node;
use kube::ResourceExt as _;

use crate::{
    cluster::{Cluster, LABEL},
    pools, routes,
};
use simulation::small_cloud::{SUBNETS, subnet, zone};

/// One interface of ours: for which NodeENI, on which instance, in which subnet.
type Place = (String, String, String);

/// Every law that is broken now.
pub(crate) fn broken(cluster: &Cluster) -> Vec<String> {
    let mut broken: Vec<String> = cluster.crimes.all().into_iter().collect();
    let places = places(cluster, &mut broken);
    let nodes: Vec<Node> = cluster.api.store().nodes().cloned().collect();
    let node_enis: Vec<NodeEni> = cluster.api.store().node_enis().cloned().collect();
    let mut expected = BTreeSet::new();
    for node_eni in &node_enis {
        if node_eni.metadata.deletion_timestamp.is_some() {
            broken.push(format!("{} is still being deleted", node_eni.name_any()));
        }
        if node_eni.spec.pool_ref.is_some() {
            continue;
        }
        for node in nodes.iter().filter(|node| selected(node)) {
            let id = node.instance().unwrap().to_string();
            if cluster.state(&id) == Some(InstanceState::Running) {
                expect(&mut expected, node_eni, &id, &places);
            }
        }
    }
    for lacks in expected.difference(&places) {
        broken.push(format!("lacks {lacks:?}"));
    }
    for extra in places.difference(&expected) {
        broken.push(format!("nobody wants {extra:?}"));
    }
    let store = cluster.api.store();
    let records = store.records().filter(|one| one.spec.pool.is_none());
    let records = records.count();
    drop(store);
    if records != expected.len() {
        broken.push(format!(
            "{records} records for {} interfaces",
            expected.len()
        ));
    }
    addresses(cluster, &node_enis, &mut broken);
    for node in &nodes {
        readiness(node, cluster, &expected, &mut broken);
    }
    pools::broken(cluster, &mut broken);
    routes::broken(cluster, &node_enis, &mut broken);
    throttled(cluster, &mut broken);
    others(cluster, &mut broken);
    unadopted(cluster, &expected, &mut broken);
    broken
}

/// Nobody but our controllers calls so often that EC2 refuses it.
fn throttled(cluster: &Cluster, broken: &mut Vec<String>) {
    let world = cluster.door.world();
    for (action, codes) in world.counters() {
        if let Some(times) = codes.get("RequestLimitExceeded") {
            broken.push(format!(
                "{action} was refused {times} times: its bucket was empty"
            ));
        }
    }
}

/// An interface of J, as it left it.
fn is_peers(cluster: &Cluster, eni: &ec2_sim::Interface) -> bool {
    cluster.peers.contains(&eni.id) && !eni.tags.contains_key(mark::TAG_CLUSTER_UID)
}

/// What J made, and what its NodeENI still lists and asks for, is ours by now.
fn unadopted(cluster: &Cluster, expected: &BTreeSet<Place>, broken: &mut Vec<String>) {
    let store = cluster.api.store();
    let entries = store.node_enis().flat_map(|node_eni| {
        let entries = node_eni.status.iter().flat_map(|one| &one.attachments);
        entries.map(move |entry| (node_eni.name_any(), entry))
    });
    let world = cluster.door.world();
    for (name, entry) in entries {
        let listed = entry.eni_id.as_ref().map(eniway_api::EniId::as_str);
        let mut enis = world.interfaces().filter(|eni| is_peers(cluster, eni));
        let Some(eni) = enis.find(|eni| Some(eni.id.as_str()) == listed) else {
            continue;
        };
        let Some(attachment) = &eni.attachment else {
            continue;
        };
        let instance = attachment.instance.to_string();
        if expected.contains(&(name, instance, eni.subnet.to_string())) {
            broken.push(format!("{} is listed, asked for and not adopted", eni.id));
        }
    }
}

fn selected(node: &Node) -> bool {
    node.labels.contains_key(LABEL.0)
}

/// A node says which NodeENIs are fulfilled on it, and bears no start-up taint once all are.
fn readiness(node: &Node, cluster: &Cluster, expected: &BTreeSet<Place>, broken: &mut Vec<String>) {
    let Some(id) = node.instance().map(ToString::to_string) else {
        return;
    };
    if cluster.state(&id) != Some(InstanceState::Running) {
        return;
    }
    let fulfilled: BTreeSet<_> = expected
        .iter()
        .filter(|(_, instance, _)| *instance == id)
        .map(|(name, _, _)| mark::ready_label(name))
        .collect();
    let lent = pools::lent(cluster, &id);
    let fulfilled: BTreeSet<_> = fulfilled
        .into_iter()
        .chain(lent.iter().map(|name| mark::ready_label(name)))
        .collect();
    let labels = node.labels.keys();
    let said: BTreeSet<_> = labels
        .filter(|key| key.starts_with(mark::LABEL_READY))
        .cloned()
        .collect();
    if said != fulfilled {
        broken.push(format!("{} says {said:?}, not {fulfilled:?}", node.name));
    }
    // Who waits for a member that is in use elsewhere is not ready.
    let waits = selected(node) && {
        let store = cluster.api.store();
        let of_pools = store.node_enis().filter(|one| one.spec.pool_ref.is_some());
        of_pools
            .into_iter()
            .any(|one| !lent.contains(&one.name_any()))
    };
    if !node.taints.is_empty() && !waits {
        broken.push(format!("{} bears the start-up taint", node.name));
    }
}

/// What the NodeENI asks for on the instance. MatchZone leaves a choice: what was chosen counts, if
/// it is one of those that may be.
fn expect(
    expected: &mut BTreeSet<Place>,
    node_eni: &NodeEni,
    instance: &str,
    places: &BTreeSet<Place>,
) {
    let name = node_eni.name_any();
    let number = usize::from_str_radix(&instance[6..], 16).unwrap();
    let here: Vec<Place> = (0..SUBNETS)
        .filter(|n| zone(*n) == zone(number))
        .filter(|n| {
            let listed = &node_eni.spec.subnet_ids;
            listed.iter().any(|id| id.as_str() == subnet(*n))
        })
        .map(|n| (name.clone(), instance.to_owned(), subnet(n)))
        .collect();
    if node_eni.spec.subnet_policy == Some(SubnetPolicy::MatchZone) {
        let chosen = here.iter().find(|place| places.contains(*place));
        expected.extend(chosen.or(here.first()).cloned());
    } else {
        expected.extend(here);
    }
}

/// An interface has as many addresses as its NodeENI asks for, and one more.
fn addresses(cluster: &Cluster, node_enis: &[NodeEni], broken: &mut Vec<String>) {
    let world = cluster.door.world();
    for node_eni in node_enis {
        let Some(ipv4) = &node_eni.spec.ipv4 else {
            continue;
        };
        let asked = ipv4.secondary_count.unwrap_or(0) as usize;
        let name = node_eni.name_any();
        let of_it = |eni: &&ec2_sim::Interface| {
            let named = eni.tags.get(mark::peer::TAG_NODE_ENI) == Some(&name);
            named && !is_primary(eni) && !is_peers(cluster, eni)
        };
        for eni in world.interfaces().filter(of_it) {
            if eni.addresses.len() != 1 + asked {
                let has = eni.addresses.len();
                broken.push(format!(
                    "{} of {name} has {has} addresses, not 1 + {asked}",
                    eni.id
                ));
            }
        }
    }
}

/// Where our interfaces are; one that is nowhere, or twice at one place, is a leak.
fn places(cluster: &Cluster, broken: &mut Vec<String>) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    let world = cluster.door.world();
    for eni in world.interfaces().filter(|eni| !is_primary(eni)) {
        let others = cluster.others.contains_key(&eni.id);
        if others || is_peers(cluster, eni) || pools::is_member(eni) {
            continue;
        }
        let Some(name) = eni.tags.get(mark::peer::TAG_NODE_ENI) else {
            broken.push(format!("{} has no tags", eni.id));
            continue;
        };
        match &eni.attachment {
            None => broken.push(format!("{} is attached to nothing", eni.id)),
            Some(attachment) => {
                let place = (
                    name.clone(),
                    attachment.instance.to_string(),
                    eni.subnet.to_string(),
                );
                if !places.insert(place) {
                    broken.push(format!("{} is there twice", eni.id));
                }
            }
        }
    }
    places
}

fn is_primary(eni: &ec2_sim::Interface) -> bool {
    let slot = eni.attachment.as_ref().map(|attachment| attachment.slot);
    slot.is_some_and(|slot| (slot.card, slot.index) == (0, 0))
}

/// What is not ours is as its owner left it, or as its instance's end left it.
fn others(cluster: &Cluster, broken: &mut Vec<String>) {
    let world = cluster.door.world();
    for (id, instance) in &cluster.others {
        let now = world.interface(id).map(|eni| eni.attachment.as_ref());
        let at = now
            .flatten()
            .map(|attachment| attachment.instance.to_string());
        let gone = |id: &String| {
            let found = world.instances().find(|found| found.id.as_str() == id);
            found.is_none_or(|found| found.state == InstanceState::Terminated)
        };
        let as_left = now.is_some() && at == *instance;
        if !as_left && !instance.as_ref().is_some_and(gone) {
            broken.push(format!(
                "{id} of somebody else was on {instance:?} and is on {at:?}"
            ));
        }
    }
}
