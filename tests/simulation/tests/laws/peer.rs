//! What J left behind before the story begins: a NodeENI, and its interfaces on some of the nodes.

use std::time::Duration;

use ec2_sim::{AttachNetworkInterface, CreateNetworkInterface, InstanceId, Slot, SubnetId};
use eniway_api::{AttachmentSummary, NodeEniStatus, SubnetPolicy, mark};
use kube::ResourceExt as _;
use simulation::small_cloud::{instance_id, subnet};

use crate::{
    clock,
    cluster::{Cluster, NODES, node_eni, node_name},
};

/// In every second world J was there.
pub(crate) fn leave(cluster: &mut Cluster) {
    if cluster.weather.below(2) == 0 {
        return;
    }
    let mut attachments = Vec::new();
    for number in 0..NODES {
        if cluster.weather.below(3) == 0 {
            continue;
        }
        let (instance, subnet) = (instance_id(number, 0), subnet(number % 2));
        let eni = attach(cluster, &instance, &subnet);
        attachments.push(AttachmentSummary {
            node_id: node_name(number),
            instance_id: Some(instance.as_str().into()),
            eni_id: Some(eni.as_str().into()),
            subnet_id: Some(subnet.as_str().into()),
            status: "attached".to_owned(),
            ..AttachmentSummary::default()
        });
        cluster.peers.insert(eni);
    }
    let mut left = node_eni(0, &[0, 1], SubnetPolicy::All, None);
    left.finalizers_mut()
        .push(mark::FINALIZER_NODE_ENI.to_owned());
    left.status = Some(NodeEniStatus {
        attachments,
        ..NodeEniStatus::default()
    });
    cluster.api.store().wish(left);
}

fn attach(cluster: &Cluster, instance: &str, subnet: &str) -> ec2_sim::EniId {
    let mut new = CreateNetworkInterface::in_subnet(SubnetId::parse(subnet).unwrap());
    let tags = [
        (mark::peer::TAG_NODE_ENI, "n0"),
        (mark::peer::TAG_MANAGED_BY, mark::peer::MANAGED_BY),
    ];
    new.tags = tags
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let now = clock::wall();
    let mut world = cluster.door.world();
    // Made long ago, so known everywhere.
    let hidden = std::mem::replace(&mut world.settings.fresh_eni_hidden_ms, Duration::ZERO);
    let eni = world.create_interface(&new, None, now).unwrap();
    let attach = AttachNetworkInterface {
        interface: eni.clone(),
        instance: InstanceId::parse(instance).unwrap(),
        slot: Slot { card: 0, index: 1 },
    };
    world.attach_interface(&attach, now).unwrap();
    world.settings.fresh_eni_hidden_ms = hidden;
    eni
}
