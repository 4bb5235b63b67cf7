//! What the lab's EC2 begins with, and what the fabric must know of it.

use std::collections::BTreeMap;

use ec2_sim::{
    EniId, GroupId, GroupSpec, InstanceId, InstanceSpec, Server, SubnetId, SubnetSpec, VpcId,
    VpcSpec, World, WorldSpec,
};
use jiff::Timestamp;

use crate::config::{Config, NodeConfig, REGION};
use crate::error::Error;
use crate::fabric::{self, Network, PortId};
use crate::vpc::{HOST_SUBNETS, MULTUS_SUBNETS, NODE_SUBNETS, VPC_CIDR, VPC_CIDR6};

use super::failed;

const VPC: &str = "vpc-00000000000000001";

/// The security groups, by name and id.
pub const SECURITY_GROUPS: [(&str, &str); 2] = [
    ("nodes", "sg-00000000000000001"),
    ("multus", "sg-00000000000000002"),
];

/// What the fabric needs to know of a world.
pub(crate) fn network_of(server: &Server) -> Network {
    let all = NODE_SUBNETS
        .iter()
        .chain(&MULTUS_SUBNETS)
        .chain(&HOST_SUBNETS);
    let subnets = all
        .map(|subnet| fabric::Subnet {
            id: subnet.id.to_owned(),
            ipv4: subnet.cidr().parse().expect("a subnet's block is one"),
            ipv6: subnet.ipv6_cidr().parse().ok(),
        })
        .collect();
    let interfaces =
        server.with_world(|world, _| world.interfaces().filter_map(interface).collect());
    Network {
        subnets,
        interfaces,
    }
}

pub(crate) fn port(eni: &EniId) -> PortId {
    PortId(eni.as_str().to_owned())
}

fn interface(interface: &ec2_sim::Interface) -> Option<fabric::Interface> {
    Some(fabric::Interface {
        port: port(&interface.id),
        mac: interface.mac.parse().ok()?,
        subnet: interface.subnet.as_str().to_owned(),
        ipv4: interface.addresses.clone(),
        ipv4_prefixes: interface.prefixes.clone(),
        ipv6: interface.ipv6_addresses.clone(),
        ipv6_prefixes: interface.ipv6_prefixes.clone(),
        source_dest_check: interface.source_dest_check,
    })
}

pub(super) fn world(config: &Config) -> Result<World, Error> {
    let mut spec = WorldSpec {
        region: Some(REGION.to_owned()),
        settings: config.ec2.clone(),
        ..WorldSpec::default()
    };
    spec.vpcs.push(VpcSpec {
        id: Some(VpcId::parse(VPC).map_err(failed)?),
        cidr: VPC_CIDR.parse().map_err(failed)?,
        ipv6_cidr: Some(VPC_CIDR6.parse().map_err(failed)?),
        tags: name_tag("lab"),
    });
    for subnet in NODE_SUBNETS
        .iter()
        .chain(&MULTUS_SUBNETS)
        .chain(&HOST_SUBNETS)
    {
        spec.subnets.push(SubnetSpec {
            id: Some(SubnetId::parse(subnet.id).map_err(failed)?),
            vpc: None,
            zone: subnet.zone_name(),
            cidr: subnet.cidr().parse().map_err(failed)?,
            ipv6_cidr: Some(subnet.ipv6_cidr().parse().map_err(failed)?),
            tags: name_tag(subnet.name),
        });
    }
    for (group, id) in SECURITY_GROUPS {
        let id = Some(GroupId::parse(id).map_err(failed)?);
        spec.security_groups.push(GroupSpec {
            id,
            name: group.to_owned(),
            vpc: None,
            tags: name_tag(group),
        });
    }
    for node in &config.nodes {
        spec.instances.push(instance_of(node)?);
    }
    spec.build(Timestamp::now()).map_err(failed)
}

pub(super) fn instance_of(node: &NodeConfig) -> Result<InstanceSpec, Error> {
    let subnet = SubnetId::parse(node.subnet().id).map_err(failed)?;
    let [(_, group), _] = SECURITY_GROUPS;
    Ok(InstanceSpec {
        id: Some(InstanceId::parse(&node.instance).map_err(failed)?),
        private_ip: Some(node.address()),
        mac: Some(node.mac()),
        security_groups: vec![GroupId::parse(group).map_err(failed)?],
        tags: name_tag(&node.name),
        ..InstanceSpec::new(&node.instance_type, &subnet)
    })
}

pub(super) fn name_tag(name: &str) -> BTreeMap<String, String> {
    [("Name".to_owned(), name.to_owned())].into()
}
