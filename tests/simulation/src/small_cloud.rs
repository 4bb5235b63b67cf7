//! The small EC2 of models: one network, four subnets in two zones by turns, an instance for each node.
#![expect(
    clippy::unwrap_used,
    reason = "a model that cannot be built fails the test"
)]

use std::{collections::BTreeMap, net::Ipv4Addr};

use ec2_sim::{
    Settings, World,
    spec::{GroupSpec, InstanceSpec, RouteTableSpec, SubnetSpec, VpcSpec, WorldSpec},
};
use jiff::Timestamp;

/// Half of them in each zone.
pub const SUBNETS: usize = 4;

/// Subnets 0 and 2 are in zone a, 1 and 3 in zone b; so are the nodes.
#[must_use]
pub fn zone(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "a" } else { "b" }
}

/// The ID of a subnet.
#[must_use]
pub fn subnet(number: usize) -> String {
    format!("subnet-{number:08x}")
}

/// The instance of a node; a replaced one has a higher `life`.
#[must_use]
pub fn instance_id(number: usize, life: usize) -> String {
    format!("i-{life:04x}{number:04x}")
}

#[must_use]
pub fn instance(kind: &str, number: usize, life: usize) -> InstanceSpec {
    let subnet = ec2_sim::SubnetId::parse(&subnet(number % 2)).unwrap();
    let mut instance = InstanceSpec::new(kind, &subnet);
    instance.id = Some(ec2_sim::InstanceId::parse(&instance_id(number, life)).unwrap());
    instance
}

/// When it begins.
#[must_use]
pub fn epoch() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

/// All of it, at [`epoch`]. `kind` is the type of all instances.
#[must_use]
pub fn world(kind: &str, nodes: usize, seed: u64, settings: Settings) -> World {
    let subnets = (0..SUBNETS).map(|number| {
        let third = u8::try_from(number).unwrap();
        SubnetSpec {
            id: Some(ec2_sim::SubnetId::parse(&subnet(number)).unwrap()),
            vpc: None,
            zone: zone(number).to_owned(),
            cidr: ipnet::Ipv4Net::new(Ipv4Addr::new(10, 0, third, 0), 24).unwrap(),
            ipv6_cidr: Some(format!("2600:1f18:0:10{number}::/64").parse().unwrap()),
            tags: BTreeMap::new(),
        }
    });
    WorldSpec {
        seed,
        settings,
        vpcs: vec![VpcSpec {
            id: Some(ec2_sim::VpcId::parse("vpc-00000001").unwrap()),
            cidr: "10.0.0.0/16".parse().unwrap(),
            ipv6_cidr: Some("2600:1f18:0:100::/56".parse().unwrap()),
            tags: BTreeMap::new(),
        }],
        subnets: subnets.collect(),
        security_groups: vec![GroupSpec {
            id: Some(ec2_sim::GroupId::parse("sg-00000001").unwrap()),
            name: "multus".to_owned(),
            vpc: None,
            tags: BTreeMap::new(),
        }],
        route_tables: vec![RouteTableSpec::default()],
        instances: (0..nodes).map(|number| instance(kind, number, 0)).collect(),
        ..WorldSpec::default()
    }
    .build(epoch())
    .unwrap()
}
