//! The EC2 that a case begins with.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ec2_sim::{
    Settings, World,
    spec::{GroupSpec, InstanceSpec, SubnetSpec, VpcSpec, WorldSpec},
};
use jiff::Timestamp;

use super::Case;

pub(super) fn subnet(number: usize) -> String {
    format!("subnet-{number:08x}")
}

pub(super) fn world(case: &Case) -> World {
    let zone = |number: usize| if number.is_multiple_of(2) { "a" } else { "b" }.to_owned();
    let cidr = |number: usize| {
        let third = u8::try_from(number).unwrap();
        ipnet::Ipv4Net::new(Ipv4Addr::new(10, 0, third, 0), 24).unwrap()
    };
    let subnets = (0..4).map(|number| SubnetSpec {
        id: Some(ec2_sim::SubnetId::parse(&subnet(number)).unwrap()),
        vpc: None,
        zone: zone(number),
        cidr: cidr(number),
        ipv6_cidr: None,
        tags: BTreeMap::new(),
    });
    let instances = (0..case.nodes).map(|number| {
        let subnet = ec2_sim::SubnetId::parse(&subnet(number % 2)).unwrap();
        let mut instance = InstanceSpec::new("m5.4xlarge", &subnet);
        instance.id = Some(ec2_sim::InstanceId::parse(&instance_id(number)).unwrap());
        instance
    });
    WorldSpec {
        seed: case.seed,
        settings: Settings::default(),
        vpcs: vec![VpcSpec {
            id: Some(ec2_sim::VpcId::parse("vpc-00000001").unwrap()),
            cidr: "10.0.0.0/16".parse().unwrap(),
            ipv6_cidr: None,
            tags: BTreeMap::new(),
        }],
        subnets: subnets.collect(),
        security_groups: vec![GroupSpec {
            id: Some(ec2_sim::GroupId::parse("sg-00000001").unwrap()),
            name: "multus".to_owned(),
            vpc: None,
            tags: BTreeMap::new(),
        }],
        instances: instances.collect(),
        ..WorldSpec::default()
    }
    .build(epoch())
    .unwrap()
}

pub(super) fn instance_id(number: usize) -> String {
    format!("i-{number:08x}")
}

pub(super) fn epoch() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}
