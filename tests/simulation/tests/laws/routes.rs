//! Routes of the simulated network: one for each NodeENI that asks for it, and the laws about them.

use std::collections::BTreeSet;

use ec2_sim::{EniId, Request, Target};
use eniway_api::{NodeEni, VpcRoute, mark};
use ipnet::IpNet;
use kube::ResourceExt as _;

use crate::cluster::{Cluster, NODE_ENIS};

fn destination(number: usize) -> IpNet {
    format!("10.{}.0.0/16", 100 + number).parse().unwrap()
}

/// The network's only table.
fn table(cluster: &Cluster) -> String {
    let world = cluster.door.world();
    let table = world.route_tables().next().unwrap();
    table.id.to_string()
}

/// What the NodeENI of this number may ask for.
pub(crate) fn wish(cluster: &Cluster, number: usize) -> VpcRoute {
    VpcRoute {
        route_table_id: table(cluster).as_str().into(),
        destination: destination(number),
    }
}

/// Somebody deletes a route. Whether it was there.
pub(crate) fn delete(cluster: &Cluster, number: usize) -> bool {
    let delete = Request::new("DeleteRoute")
        .with("RouteTableId", table(cluster))
        .with("DestinationCidrBlock", destination(number));
    cluster.by_hand(&delete).is_some()
}

/// A route that is asked for leads to an interface of its NodeENI, if there is one; what is not asked for is
/// not there, for nobody else makes one.
pub(crate) fn broken(cluster: &Cluster, node_enis: &[NodeEni], broken: &mut Vec<String>) {
    for number in 0..NODE_ENIS {
        let name = format!("n{number}");
        let mut all = node_enis.iter();
        let node_eni = all.find(|one| one.name_any() == name);
        let asked = node_eni.is_some_and(|one| !one.spec.routes.is_empty());
        let (leads, takers) = (leads(cluster, number), takers(cluster, &name));
        match &leads {
            Some(eni) if !asked => {
                broken.push(format!("nobody asks for the route of {name} to {eni}"));
            }
            None if asked && !takers.is_empty() => broken.push(format!("{name} lacks its route")),
            Some(eni) if !takers.is_empty() && !takers.contains(eni) => {
                broken.push(format!(
                    "the route of {name} leads to {eni}, not to one of {takers:?}"
                ));
            }
            Some(_) | None => {}
        }
    }
}

fn leads(cluster: &Cluster, number: usize) -> Option<EniId> {
    let world = cluster.door.world();
    let table = world.route_tables().next()?;
    match table.routes.get(&destination(number))? {
        Target::Interface(eni) => Some(eni.clone()),
        Target::Gateway(_) | Target::Local => None,
    }
}

fn takers(cluster: &Cluster, name: &str) -> BTreeSet<EniId> {
    let world = cluster.door.world();
    let of_it = world.interfaces().filter(|eni| {
        let named = eni.tags.get(mark::peer::TAG_NODE_ENI).map(String::as_str) == Some(name);
        named && eni.attachment.is_some() && eni.tags.contains_key(mark::TAG_CLUSTER_UID)
    });
    of_it.map(|eni| eni.id.clone()).collect()
}
