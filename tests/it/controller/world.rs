//! The simulated EC2 of a test, and what others do there.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use ec2_sim::{
    AttachNetworkInterface, CreateNetworkInterface, ElasticIpSpec, EniId, Fault, GroupSpec,
    InstanceSpec, Interface, Request, RouteTableSpec, Settings, Slot, SubnetId, SubnetSpec,
    VpcSpec, World, WorldSpec,
};
use eniway_api::mark;
use jiff::Timestamp;

use super::{SUBNET_SMALL, TABLE, rig::Running};

fn parse<T>(id: Result<T, ec2_sim::ApiError>) -> Option<T> {
    Some(id.unwrap())
}

/// Nodes are in zone b, a, b, …; subnet `…f` is in another VPC, two are named `twice`.
pub(super) fn world(nodes: usize, instance_type: &str, settings: Settings) -> WorldSpec {
    let subnet = |id: &str, vpc: &str, zone: &str, third: u8, name: &str| SubnetSpec {
        id: parse(SubnetId::parse(id)),
        vpc: parse(ec2_sim::VpcId::parse(vpc)),
        zone: zone.to_owned(),
        cidr: ipnet::Ipv4Net::new(
            Ipv4Addr::new(10, if vpc.ends_with('1') { 0 } else { 1 }, third, 0),
            22,
        )
        .unwrap(),
        ipv6_cidr: (vpc.ends_with('1'))
            .then(|| format!("2600:1f18:0:1{third:02x}::/64").parse().unwrap()),
        tags: BTreeMap::from([("Name".to_owned(), name.to_owned())]),
    };
    let vpc = |id: &str, cidr: &str| VpcSpec {
        id: parse(ec2_sim::VpcId::parse(id)),
        cidr: cidr.parse().unwrap(),
        ipv6_cidr: id
            .ends_with('1')
            .then(|| "2600:1f18:0:100::/56".parse().unwrap()),
        tags: BTreeMap::new(),
    };
    let primary = [("subnet-00000001", "a"), ("subnet-00000002", "b")];
    let instances = (1..=nodes).map(|number| {
        let (subnet, _) = primary[number % 2];
        let subnet = SubnetId::parse(subnet).unwrap();
        let mut instance = InstanceSpec::new(instance_type, &subnet);
        instance.id = parse(ec2_sim::InstanceId::parse(&instance_id(number)));
        instance
    });
    WorldSpec {
        settings,
        vpcs: vec![
            vpc("vpc-00000001", "10.0.0.0/16"),
            vpc("vpc-00000002", "10.1.0.0/16"),
        ],
        subnets: vec![
            subnet("subnet-00000001", "vpc-00000001", "a", 0, "twice"),
            subnet("subnet-00000002", "vpc-00000001", "b", 4, "twice"),
            subnet("subnet-0000000a", "vpc-00000001", "a", 8, "multus-a"),
            subnet("subnet-0000000b", "vpc-00000001", "b", 12, "multus-b"),
            SubnetSpec {
                cidr: "10.0.16.0/28".parse().unwrap(),
                ..subnet(SUBNET_SMALL, "vpc-00000001", "b", 16, "small")
            },
            subnet("subnet-0000000f", "vpc-00000002", "b", 0, "foreign"),
        ],
        security_groups: vec![GroupSpec {
            id: parse(ec2_sim::GroupId::parse("sg-00000001")),
            name: "multus".to_owned(),
            vpc: parse(ec2_sim::VpcId::parse("vpc-00000001")),
            tags: BTreeMap::new(),
        }],
        route_tables: vec![RouteTableSpec {
            id: parse(ec2_sim::RouteTableId::parse(TABLE)),
            vpc: parse(ec2_sim::VpcId::parse("vpc-00000001")),
            tags: BTreeMap::new(),
            gateways: [("10.99.0.0/16".parse().unwrap(), "tgw-00000001".to_owned())].into(),
        }],
        instances: instances.collect(),
        elastic_ips: (1..=3).map(elastic_ip).collect(),
        ..WorldSpec::default()
    }
}

/// The first two bear the tag `tier=edge`.
fn elastic_ip(number: u8) -> ElasticIpSpec {
    let tier = if number < 3 { "edge" } else { "core" };
    ElasticIpSpec {
        id: parse(ec2_sim::AllocationId::parse(&format!(
            "eipalloc-{number:08x}"
        ))),
        public_ip: Ipv4Addr::new(203, 0, 113, number),
        tags: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
    }
}

pub(super) fn instance_id(number: usize) -> String {
    format!("i-{number:08x}")
}

/// The instance of `node1`, `node2`, ….
pub(super) fn instance_of(node: &str) -> String {
    instance_id(node.trim_start_matches("node").parse().unwrap())
}

/// The interfaces that bear our mark.
pub(super) fn ours(world: &World) -> Vec<Interface> {
    let ours = world
        .interfaces()
        .filter(|eni| eni.tags.contains_key(mark::TAG_ATTACHMENT));
    ours.cloned().collect()
}

impl Running {
    /// Somebody detaches and deletes an interface by hand.
    pub(super) fn destroy(&self, id: &EniId) {
        let mut world = self.door.world();
        let attachment = world.interface(id).unwrap().attachment.clone().unwrap();
        let now = Timestamp::now();
        let detach = Request::new("DetachNetworkInterface")
            .with("AttachmentId", &attachment.id)
            .with("Force", true);
        world.call(&detach, now).unwrap();
        let later = now + Duration::from_millis(150);
        let delete = Request::new("DeleteNetworkInterface").with("NetworkInterfaceId", id);
        world.call(&delete, later).unwrap();
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.door.world().add_fault(fault);
    }

    /// The interfaces that bear our mark, as they are.
    pub(super) fn ours(&self) -> Vec<Interface> {
        ours(&self.door.world())
    }

    pub(super) fn calls(&self, action: &str) -> u64 {
        let world = self.door.world();
        world
            .counters()
            .get(action)
            .map_or(0, |codes| codes.values().sum())
    }

    /// An action of somebody else.
    pub(super) fn call(&self, action: &str, parameter: &str, value: impl std::fmt::Display) {
        let request = Request::new(action).with(parameter, value);
        self.door.world().call(&request, Timestamp::now()).unwrap();
    }

    /// The instance is `pending` again.
    pub(super) async fn stop_and_start(&self, node: &str) {
        let instance = instance_of(node);
        self.call("StopInstances", "InstanceId.1", &instance);
        self.until_door("it has stopped", |world| {
            world
                .instances()
                .any(|i| i.state == ec2_sim::InstanceState::Stopped)
        })
        .await;
        self.call("StartInstances", "InstanceId.1", &instance);
    }

    /// Somebody's interface takes a place on a node.
    pub(super) fn attach_for_another(&self, node: &str, subnet: &str, index: u32) -> EniId {
        let mut world = self.door.world();
        let new = CreateNetworkInterface::in_subnet(SubnetId::parse(subnet).unwrap());
        let now = Timestamp::now();
        let id = world.create_interface(&new, None, now).unwrap();
        let attach = AttachNetworkInterface {
            interface: id.clone(),
            instance: ec2_sim::InstanceId::parse(&instance_of(node)).unwrap(),
            slot: Slot { card: 0, index },
        };
        world.attach_interface(&attach, now).unwrap();
        id
    }

    /// An interface as J's controller makes and attaches it for a NodeENI.
    pub(super) fn attach_as_the_peer_does(
        &self,
        node_eni: &str,
        node: &str,
        subnet: &str,
        index: u32,
    ) -> EniId {
        let id = self.attach_for_another(node, subnet, index);
        let last8 = &subnet[subnet.len() - 8..];
        let tags = [
            (
                mark::peer::TAG_NAME,
                &*format!("nodeeni-{node_eni}-{node}-{last8}"),
            ),
            (mark::peer::TAG_NODE_ENI, node_eni),
            (mark::peer::TAG_NODE, node),
            (mark::peer::TAG_SUBNET, subnet),
            (mark::peer::TAG_MANAGED_BY, mark::peer::MANAGED_BY),
            (mark::TAG_NO_MANAGE, "true"),
        ];
        for (key, value) in tags {
            self.tag(&id, key, value);
        }
        id
    }

    /// Others take every free address of a subnet.
    pub(super) fn fill(&self, subnet: &str) -> Vec<EniId> {
        let mut world = self.door.world();
        let new = CreateNetworkInterface::in_subnet(SubnetId::parse(subnet).unwrap());
        let make = || world.create_interface(&new, None, Timestamp::now()).ok();
        std::iter::from_fn(make).collect()
    }

    /// Another deletes an interface of its own.
    pub(super) fn delete(&self, id: &EniId) {
        self.call("DeleteNetworkInterface", "NetworkInterfaceId", id);
    }

    /// Somebody gives a resource a tag.
    pub(super) fn tag(&self, resource: impl std::fmt::Display, key: &str, value: &str) {
        let request = Request::new("CreateTags")
            .with("ResourceId.1", resource)
            .with("Tag.1.Key", key)
            .with("Tag.1.Value", value);
        self.door.world().call(&request, Timestamp::now()).unwrap();
    }

    /// Somebody takes a tag off a resource.
    pub(super) fn untag(&self, resource: impl std::fmt::Display, key: &str) {
        let request = Request::new("DeleteTags")
            .with("ResourceId.1", resource)
            .with("Tag.1.Key", key);
        self.door.world().call(&request, Timestamp::now()).unwrap();
    }

    /// Where an interface is attached.
    pub(super) fn index_of(&self, id: &EniId) -> Option<u32> {
        let world = self.door.world();
        let attachment = world.interface(id)?.attachment.as_ref()?;
        Some(attachment.slot.index)
    }
}
