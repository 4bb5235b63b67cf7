//! What EC2 tells of instances, interfaces, subnets and groups, reduced to what decisions need.

use std::{collections::BTreeMap, net::Ipv4Addr};

use eniway_api::{
    AllocationId, Asked, AssociationId, AttachmentId, EniId, GroupId, InstanceId, MacAddress,
    SubnetId, VpcId, mark,
};
use ipnet::IpNet;

use crate::Tags;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eni {
    pub id: EniId,
    pub subnet: SubnetId,
    pub zone: String,
    pub mac: MacAddress,
    pub attachment: Option<Attachment>,
    /// Sorted.
    pub groups: Vec<GroupId>,
    pub source_dest_check: bool,
    pub description: String,
    /// The primary one first; IPv4 as /32, IPv6 as /128.
    pub addresses: Vec<IpNet>,
    /// Delegated: IPv4 /28, IPv6 /80.
    pub prefixes: Vec<IpNet>,
    /// The public address of the primary one.
    pub association: Option<Association>,
    pub tags: Tags,
}

impl Eni {
    /// Its addresses and prefixes, the primary address left out, as EC2 lists them.
    pub fn secondary(&self) -> impl Iterator<Item = &IpNet> {
        let primary = self
            .addresses
            .first()
            .filter(|one| matches!(one, IpNet::V4(_)));
        let rest = self.addresses.iter().skip(usize::from(primary.is_some()));
        rest.chain(&self.prefixes)
    }

    /// The UID of the record that it was made for, if it bears our mark.
    #[must_use]
    pub fn record(&self) -> Option<&str> {
        self.tags.get(mark::TAG_ATTACHMENT)
    }
}

/// A public address that belongs to a private one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    pub public_ip: Ipv4Addr,
    /// `None`: it is no Elastic IP of the account.
    pub allocation: Option<AllocationId>,
    pub id: Option<AssociationId>,
}

/// An Elastic IP of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticIp {
    pub id: AllocationId,
    pub public_ip: Ipv4Addr,
    /// Whether it belongs to something, be it an interface or not.
    pub is_associated: bool,
    /// The interface that has it.
    pub eni: Option<EniId>,
    pub tags: BTreeMap<String, String>,
}

/// The attachment of an interface to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub id: AttachmentId,
    pub instance: InstanceId,
    pub device_index: u8,
    pub network_card_index: u8,
    pub state: AttachmentState,
    pub delete_on_termination: bool,
    /// `None`: EC2 does not tell.
    pub ena_queue_count: Option<u16>,
}

/// Where an attachment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentState {
    Attaching,
    Attached,
    Detaching,
    Detached,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub id: InstanceId,
    /// Absent once it is terminated.
    pub vpc: Option<VpcId>,
    pub zone: String,
    pub state: InstanceState,
    pub instance_type: String,
    /// Every interface, also those that are not ours.
    pub interfaces: Vec<Occupied>,
}

/// A place on an instance that an interface has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupied {
    pub eni: EniId,
    pub device_index: u8,
    pub network_card_index: u8,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    /// Whether it will never run again.
    #[must_use]
    pub const fn is_gone(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub id: SubnetId,
    pub vpc: VpcId,
    pub zone: String,
    /// IPv4 first.
    pub cidrs: Vec<IpNet>,
    pub free_addresses: u32,
    pub tags: BTreeMap<String, String>,
}

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub name: String,
    pub tags: BTreeMap<String, String>,
}

/// What an instance type can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceType {
    pub name: String,
    /// Interfaces of the whole instance.
    pub interfaces: u16,
    /// Interfaces by network card; index 0 is the first.
    pub cards: Vec<u16>,
    /// IPv4 addresses of one interface, the primary one and prefixes included.
    pub ipv4_addresses: u16,
    /// IPv6 addresses and prefixes of one interface.
    pub ipv6_addresses: u16,
    pub ena_queues: EnaQueues,
}

/// Whether the number of an interface's ENA queues can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnaQueues {
    /// Nobody told; EC2 judges it then.
    Unknown,
    /// The type decides.
    Fixed,
    /// At most so many, of one interface.
    Flexible(u16),
}

/// An interface to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEni {
    pub subnet: SubnetId,
    /// Its primary address; `None`: any that is free.
    pub primary: Option<Ipv4Addr>,
    pub groups: Vec<GroupId>,
    pub description: String,
    pub tags: BTreeMap<String, String>,
    /// What it gets beside its primary address.
    pub asked: Asked,
    /// At most 64 characters; the same token gives the same interface.
    pub client_token: String,
}

/// An attachment to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttachment {
    pub eni: EniId,
    pub instance: InstanceId,
    pub device_index: u8,
    pub network_card_index: u8,
    /// `None`: as many as the instance type gives.
    pub ena_queue_count: Option<u16>,
}

/// One attribute of an interface; EC2 takes one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    DeleteOnTermination(AttachmentId, bool),
    EnaQueueCount(AttachmentId, u16),
    SourceDestCheck(bool),
    Groups(Vec<GroupId>),
    Description(String),
}
