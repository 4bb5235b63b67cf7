//! A read returns every page. EC2 puts 1,000 results on one.

use std::net::Ipv4Addr;

use ec2_sim::{CreateNetworkInterface, GroupSpec, InstanceSpec, SubnetSpec};
use eniway_api::mark;
use eniway_ec2::{Call, Ec2 as _, Instances, Interfaces, Subnets};

use crate::world::{CLUSTER, SUBNET, Wire, spec, vpc};

const MANY: usize = 1100;

#[tokio::test]
async fn instances_and_interfaces_come_on_more_than_one_page() {
    let mut spec = spec();
    let subnet = ec2_sim::SubnetId::parse(SUBNET).unwrap();
    spec.instances = vec![InstanceSpec::new("m5.large", &subnet); MANY];
    let wire = Wire::start(spec).await;
    let instances = wire.ec2.instances(&Instances::Of(vpc())).await.unwrap();
    assert_eq!(instances.len(), MANY);
    assert_eq!(wire.calls(Call::DescribeInstances), 2);

    let tag = (mark::TAG_CLUSTER_UID.to_owned(), CLUSTER.to_owned());
    let new = CreateNetworkInterface {
        tags: vec![tag],
        ..CreateNetworkInterface::in_subnet(subnet)
    };
    wire.server.with_world(|world, now| {
        for _ in 0..MANY {
            world.create_interface(&new, None, now).unwrap();
        }
    });
    let all = Interfaces::OfCluster(CLUSTER.to_owned());
    assert_eq!(wire.ec2.interfaces(&all).await.unwrap().len(), MANY);
    assert_eq!(wire.calls(Call::DescribeNetworkInterfaces), 2);
}

#[tokio::test]
async fn subnets_and_groups_come_on_more_than_one_page() {
    let mut spec = spec();
    // After the first one's 10.0.0.0/20.
    spec.subnets
        .extend((0x1000_u32..).step_by(16).take(MANY).map(|at| SubnetSpec {
            id: None,
            vpc: None,
            zone: "a".to_owned(),
            cidr: ipnet::Ipv4Net::new(Ipv4Addr::from(0x0a00_0000 + at), 28).unwrap(),
            ipv6_cidr: None,
            tags: Default::default(),
        }));
    spec.security_groups
        .extend((0..MANY).map(|number| GroupSpec {
            id: None,
            name: format!("group-{number}"),
            vpc: None,
            tags: Default::default(),
        }));
    let wire = Wire::start(spec).await;
    assert!(wire.ec2.subnets(&Subnets::Of(vpc())).await.unwrap().len() > MANY);
    assert_eq!(wire.calls(Call::DescribeSubnets), 2);
    assert!(wire.ec2.groups(&vpc()).await.unwrap().len() > MANY);
    assert_eq!(wire.calls(Call::DescribeSecurityGroups), 2);
}

#[tokio::test]
async fn instance_types_are_asked_for_by_the_hundred() {
    let wire = Wire::start(spec()).await;
    let names = vec!["m5.large".to_owned(); 101];
    wire.ec2.instance_types(&names).await.unwrap();
    assert_eq!(wire.calls(Call::DescribeInstanceTypes), 2);
}
