//! The status of a record: what EC2 answered, and what the node's kernel shows.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Assigning, AttachmentId, DeviceIndex, DpdkStatus, ElasticIpClaim, Enforcement, EniId,
    MacAddress, XdpMode, conditions::list_map,
};

/// What is known of the interface. Two writers: the controller (`ec2`, `conditions`) and the
/// node's agent (`node`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeEniAttachmentStatus {
    /// The controller's half: what EC2 answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ec2: Option<Ec2Status>,
    /// The agent's half: what the node's kernel shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeStatus>,
    /// `Ready` sums up both halves; written by the controller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_map")]
    pub conditions: Vec<Condition>,
}

/// What EC2 answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ec2Status {
    /// Where the interface is in its life.
    pub state: Ec2State,
    /// Counts the creations that were begun; a part of the client token, so it is written before the
    /// call that uses it.
    #[serde(default)]
    pub attempt: u32,
    /// The interface.
    #[serde(rename = "eniID", default, skip_serializing_if = "Option::is_none")]
    pub eni_id: Option<EniId>,
    /// Its attachment.
    #[serde(
        rename = "attachmentID",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub attachment_id: Option<AttachmentId>,
    /// Its MAC address, by which the agent finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<MacAddress>,
    /// The device index it has, or is being attached at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_index: Option<DeviceIndex>,
    /// The network card it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_card_index: Option<u8>,
    /// The number of its ENA queues, if it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 65535))]
    pub ena_queue_count: Option<u16>,
    /// The blocks of its subnet, IPv4 and IPv6.
    #[serde(rename = "subnetCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", extend("x-kubernetes-list-type" = "atomic"))]
    pub subnet_cidrs: Vec<IpNet>,
    /// Its addresses, the primary one first; IPv4 as /32, IPv6 as /128.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<IpNet>,
    /// Its delegated prefixes: IPv4 /28, IPv6 /80.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", extend("x-kubernetes-list-type" = "atomic"))]
    pub prefixes: Vec<IpNet>,
    /// Those of its addresses and prefixes that eniway assigned. Only these are ever taken off it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<String>", extend("x-kubernetes-list-type" = "atomic"))]
    pub assigned: BTreeSet<IpNet>,
    /// An assignment that was begun, written down before EC2 is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigning: Option<Assigning>,
    /// The public address of its primary address, whoever gave it.
    #[serde(rename = "publicIP", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub public_ip: Option<Ipv4Addr>,
    /// The Elastic IP that eniway associated, or is about to: written down before EC2 is called. Only
    /// this one is ever taken off it.
    #[serde(rename = "elasticIP", default, skip_serializing_if = "Option::is_none")]
    pub elastic_ip: Option<ElasticIpClaim>,
}

/// Where an interface is in its life, as EC2 last said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Ec2State {
    /// Decided; EC2 has not answered yet.
    #[default]
    Planned,
    /// It exists and is attached to nothing.
    Available,
    /// It is being attached.
    Attaching,
    /// It is attached.
    Attached,
    /// It is being detached.
    Detaching,
    /// It is gone.
    Deleted,
}

/// What the node's kernel shows. Written by that node's agent alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// How far the agent is.
    pub phase: NodePhase,
    /// Why it is there, when it is not `Ready`: one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The interface's name at the moment; in a pod, the last one it had on the node. A name is not an
    /// identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<String>,
    /// Its PCI address; absent for a virtual device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<String>,
    /// Its kernel driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Bytes, as the kernel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Where the ingress check runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp: Option<XdpStatus>,
    /// The enforcement in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// Present when packets that leave are not all checked. EC2's own source/destination check sees them in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_check: Option<EgressCheck>,
    /// Present when DPDK drives the device, or the kubelet offers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk: Option<DpdkStatus>,
    /// Where the instance's metadata says something else of the interface than this record, for longer than either may
    /// be late. What the metadata lists in addition is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_difference: Option<String>,
    /// True when the agent has taken away all that it added, so that the interface may be detached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// The generation of the record that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Why packets that leave are not checked, or not all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum EgressCheck {
    /// The interface is in a pod, and a kernel before Linux 6.6 took the check off on its way there.
    Lost,
    /// A steering rule gives packets to AF_XDP sockets, and what is sent by such is seen by EC2 alone.
    #[serde(rename = "VPCOnly")]
    VpcOnly,
}

/// How far a node's agent is with an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodePhase {
    /// The kernel does not show the interface yet.
    #[default]
    Pending,
    /// It is there and is being set up.
    Configuring,
    /// All that the record asks for is in force.
    Ready,
    /// The interface was moved into a pod: ready and in use.
    InPod,
    /// A driver for DPDK has the device, and the kernel no interface: ready.
    Vfio,
    /// Programs and settings are being taken away.
    Releasing,
    /// They are gone.
    Released,
    /// Something that the agent cannot mend; see `message`.
    Failed,
}

impl NodePhase {
    /// Whether the interface is as it should be, wherever it is.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        match self {
            Self::Ready | Self::InPod | Self::Vfio => true,
            Self::Pending | Self::Configuring | Self::Releasing | Self::Released | Self::Failed => {
                false
            }
        }
    }
}

/// Where the ingress check runs, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct XdpStatus {
    /// Where.
    pub mode: XdpMode,
    /// Why not where it was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
