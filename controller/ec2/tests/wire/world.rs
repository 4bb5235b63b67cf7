//! A served world, and the client that asks it.

use std::{collections::BTreeMap, net::TcpListener};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use ec2_sim::{
    Effect, Fault, GroupSpec, InstanceSpec, Options, Server, Settings, SubnetSpec, VpcSpec,
    WorldSpec,
};
use eniway_api::{VpcId, mark};
use eniway_ec2::{Call, NewEni, aws::Aws};
use jiff::Timestamp;

pub(super) const VPC: &str = "vpc-00000001";
pub(super) const SUBNET: &str = "subnet-00000001";
pub(super) const GROUP: &str = "sg-00000001";
pub(super) const INSTANCE: &str = "i-00000001";
pub(super) const CLUSTER: &str = "cluster-uid";

pub(super) struct Wire {
    pub(super) server: Server,
    pub(super) ec2: Aws,
}

/// A network, a subnet of it, a group and an instance.
pub(super) fn spec() -> WorldSpec {
    let id = ec2_sim::SubnetId::parse(SUBNET).unwrap();
    let mut instance = InstanceSpec::new("m5.large", &id);
    instance.id = Some(ec2_sim::InstanceId::parse(INSTANCE).unwrap());
    WorldSpec {
        settings: Settings::instant(),
        vpcs: vec![VpcSpec {
            id: Some(ec2_sim::VpcId::parse(VPC).unwrap()),
            cidr: "10.0.0.0/16".parse().unwrap(),
            ipv6_cidr: None,
            tags: BTreeMap::new(),
        }],
        subnets: vec![SubnetSpec {
            id: Some(id),
            vpc: None,
            zone: "a".to_owned(),
            cidr: "10.0.0.0/20".parse().unwrap(),
            ipv6_cidr: None,
            tags: BTreeMap::from([("Name".to_owned(), "first".to_owned())]),
        }],
        security_groups: vec![GroupSpec {
            id: Some(ec2_sim::GroupId::parse(GROUP).unwrap()),
            name: "multus".to_owned(),
            vpc: None,
            tags: BTreeMap::new(),
        }],
        instances: vec![instance],
        ..WorldSpec::default()
    }
}

/// Credentials and a region.
pub(super) fn shared() -> SdkConfig {
    let credentials = Credentials::new("key", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-west-2"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

impl Wire {
    pub(super) async fn start(spec: WorldSpec) -> Self {
        let world = spec.build(Timestamp::now()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options::default();
        let server = Server::start(world, listener, options).await.unwrap();
        let ec2 = Aws::configured(&shared(), Some(server.url()));
        Self { server, ec2 }
    }

    /// The next call goes wrong.
    pub(super) fn spoil(&self, call: Call, effect: Effect) {
        let fault = Fault::next(&call.to_string(), 1, effect);
        self.server.with_world(|world, _| world.add_fault(fault));
    }

    /// How many calls of an action came.
    pub(super) fn calls(&self, call: Call) -> u64 {
        self.server.with_world(|world, _| {
            let codes = world.counters().get(&call.to_string());
            codes.map_or(0, |codes| codes.values().sum())
        })
    }
}

pub(super) fn vpc() -> VpcId {
    VPC.into()
}

/// An interface of a record.
pub(super) fn new_eni(record: &str) -> NewEni {
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    NewEni {
        asked: eniway_api::Asked::default(),
        subnet: SUBNET.into(),
        primary: None,
        groups: vec![GROUP.into()],
        description: "made by a test".to_owned(),
        tags: BTreeMap::from([
            tag(mark::TAG_CLUSTER_UID, CLUSTER),
            tag(mark::TAG_ATTACHMENT, record),
        ]),
        client_token: format!("token-{record}"),
    }
}
