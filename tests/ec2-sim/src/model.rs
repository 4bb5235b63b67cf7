//! What exists in a world: networks, instances, interfaces, and how they are tied.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::elastic_ip::Association;
use crate::ids::{AttachmentId, EniId, GroupId, InstanceId, SubnetId, VpcId};
use crate::instance_type::InstanceType;
use crate::pool::Pool;

pub type Tags = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub struct Vpc {
    pub id: VpcId,
    pub cidr: Ipv4Net,
    pub ipv6_cidr: Option<Ipv6Net>,
    pub tags: Tags,
}

#[derive(Clone, Debug)]
pub struct Subnet {
    pub id: SubnetId,
    pub vpc: VpcId,
    pub zone: String,
    pub tags: Tags,
    /// Which of its addresses are taken.
    pub pool: Pool,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub id: GroupId,
    pub name: String,
    pub description: String,
    pub vpc: VpcId,
    pub tags: Tags,
}

/// EC2's instance states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        })
    }
}

/// A place for an interface on an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// Network card.
    pub card: u32,
    /// Device index, unique on its card.
    pub index: u32,
}

impl Slot {
    pub(crate) const PRIMARY: Self = Self { card: 0, index: 0 };
}

#[derive(Clone, Debug)]
pub struct Instance {
    pub id: InstanceId,
    pub limits: &'static InstanceType,
    pub subnet: SubnetId,
    pub vpc: VpcId,
    pub zone: String,
    pub state: InstanceState,
    pub image: String,
    pub launch_time: Timestamp,
    pub tags: Tags,
    /// Every place that is taken, also by an interface that is attaching or detaching.
    pub interfaces: BTreeMap<Slot, EniId>,
}

/// EC2's attachment states; `detached` is the absence of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachmentState {
    Attaching,
    Attached,
    Detaching,
}

impl fmt::Display for AttachmentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attaching => "attaching",
            Self::Attached => "attached",
            Self::Detaching => "detaching",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub id: AttachmentId,
    pub instance: InstanceId,
    pub slot: Slot,
    pub state: AttachmentState,
    pub delete_on_termination: bool,
    /// ENA queues, where somebody chose their number.
    pub ena_queues: Option<u32>,
    pub attach_time: Timestamp,
    /// When the metadata service begins to tell the device index; before that it says 0.
    pub metadata_from: Timestamp,
}

impl Attachment {
    /// Whether the instance has the device: it came, and did not go yet.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state != AttachmentState::Attaching
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub id: EniId,
    pub mac: String,
    pub subnet: SubnetId,
    pub vpc: VpcId,
    pub zone: String,
    pub description: String,
    /// `interface`, `efa`, `efa-only`, `trunk`, …
    pub kind: String,
    pub groups: Vec<GroupId>,
    /// The first is the primary one; empty for `efa-only`.
    pub addresses: Vec<Ipv4Addr>,
    pub prefixes: Vec<Ipv4Net>,
    pub ipv6_addresses: Vec<Ipv6Addr>,
    pub ipv6_prefixes: Vec<Ipv6Net>,
    /// Elastic IPs, by the private address that has each.
    pub public: BTreeMap<Ipv4Addr, Association>,
    pub source_dest_check: bool,
    pub tags: Tags,
    pub created: Timestamp,
    pub attachment: Option<Attachment>,
}

impl Interface {
    /// EC2's status of the interface itself, which follows its attachment.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self.attachment.as_ref().map(|attachment| attachment.state) {
            None => "available",
            Some(AttachmentState::Attaching) => "attaching",
            Some(AttachmentState::Attached) => "in-use",
            Some(AttachmentState::Detaching) => "detaching",
        }
    }

    /// Addresses and prefixes that count against the type's limit.
    pub(crate) fn ipv4_count(&self) -> usize {
        self.addresses.len() + self.prefixes.len()
    }
}

/// The name that EC2's resolver gives an address: `ip-10-0-1-5.ec2.internal`.
pub(crate) fn private_dns_name(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("ip-{a}-{b}-{c}-{d}.ec2.internal")
}
