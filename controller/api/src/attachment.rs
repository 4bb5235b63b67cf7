//! `NodeENIAttachment`: the write-ahead record of one interface on one instance.
//!
//! It exists before EC2 is called and until EC2 has confirmed that the interface is gone.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Assigning, AttachmentId, DataPath, DeletionPolicy, DeviceIndex, Enforcement, EniId, GroupId,
    InstanceId, Ipv4Wish, Ipv6Wish, MacAddress, PoolRef, SubnetId, XdpMode, conditions::list_map,
    hash,
};

/// The decisions about one interface. Written by the controller alone.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "networking.k8s.aws",
    version = "v1alpha1",
    kind = "NodeENIAttachment",
    root = "NodeEniAttachment",
    plural = "nodeeniattachments",
    singular = "nodeeniattachment",
    shortname = "nea",
    category = "eniway",
    doc = "The record of one network interface (ENI) on one node. Written by eniway; read it, do not edit it.",
    status = "NodeEniAttachmentStatus",
    derive = "Default",
    derive = "PartialEq",
    selectable = ".spec.nodeName",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.nodeName"),
    printcolumn(name = "ENI", type_ = "string", json_path = ".status.ec2.eniID"),
    printcolumn(
        name = "Index",
        type_ = "integer",
        json_path = ".status.ec2.deviceIndex"
    ),
    printcolumn(name = "EC2", type_ = "string", json_path = ".status.ec2.state"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.node.phase"),
    printcolumn(
        name = "Interface",
        type_ = "string",
        json_path = ".status.node.interfaceName"
    ),
    printcolumn(name = "XDP", type_ = "string", json_path = ".status.node.xdp.mode"),
    printcolumn(
        name = "Enforcement",
        type_ = "string",
        json_path = ".status.node.enforcement"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Subnet",
        type_ = "string",
        json_path = ".spec.subnetID",
        priority = 1
    ),
    printcolumn(
        name = "MAC",
        type_ = "string",
        json_path = ".status.ec2.macAddress",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.nodeName == oldSelf.nodeName && self.instanceID == oldSelf.instanceID && self.nodeENI == oldSelf.nodeENI && self.subnetID == oldSelf.subnetID && has(self.pool) == has(oldSelf.pool) && (!has(self.pool) || self.pool == oldSelf.pool)").message("nodeName, instanceID, nodeENI, subnetID and pool make the record what it is and never change"))]
pub struct NodeEniAttachmentSpec {
    /// The node at the time of the decision.
    #[schemars(length(max = 253))]
    pub node_name: String,
    /// The node's instance.
    #[serde(rename = "instanceID")]
    pub instance_id: InstanceId,
    /// The NodeENI that asks for the interface.
    #[serde(rename = "nodeENI")]
    pub node_eni: NodeEniRef,
    /// The subnet, chosen once.
    #[serde(rename = "subnetID")]
    pub subnet_id: SubnetId,
    /// The member of a pool that the record holds for its instance. Absent: the interface is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolPlace>,
    /// The place of the subnet in the NodeENI's list, from 0.
    #[serde(default)]
    pub position: u32,
    /// The device index wanted; the one given is in `status.ec2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_index: Option<DeviceIndex>,
    /// The network card wanted.
    #[serde(default, skip_serializing_if = "is_first")]
    #[schemars(range(max = 31))]
    pub network_card_index: u8,
    /// The security groups, resolved and sorted.
    #[serde(rename = "securityGroupIDs", default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub security_group_ids: Vec<GroupId>,
    /// What becomes of the interface when the record goes.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Whether EC2 deletes the interface with its instance.
    pub delete_on_termination: bool,
    /// EC2's source/destination check, and the data path's.
    pub source_dest_check: bool,
    /// The description in EC2.
    #[serde(default)]
    pub description: String,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Keys of tags that the user no longer asks for and that the interface may still bear. Only
    /// these are ever taken off it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub former_tags: BTreeSet<String>,
    /// IPv4 addresses and prefixes beside the primary one. Absent: they are never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Wish>,
    /// IPv6 addresses and prefixes. Absent: they are never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Wish>,
    /// An interface that aws-multi-eni-controller made and attached: it becomes this record's, as it
    /// is, and none is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<EniId>,
    /// Bytes, without the Ethernet header. Absent: as the driver sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The XDP and TC programs. Absent: no XDP, the check runs on TC and only counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_path: Option<DataPath>,
    /// Present when DPDK was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk: Option<Dpdk>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_first(card: &u8) -> bool {
    *card == 0
}

/// Which NodeENI; a re-created one of the same name is another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEniRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// A member of a pool, chosen once. No two records hold the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolPlace {
    /// The ENIPool's name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The member.
    #[serde(rename = "eniID")]
    pub eni_id: EniId,
    /// Its primary address, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 45))]
    pub address: Option<String>,
}

/// What the user asked of DPDK.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dpdk {
    /// Whether the device is to leave the kernel's driver. False with a resource name: the kernel
    /// keeps it, and the kubelet offers it.
    #[serde(default)]
    pub bind: bool,
    /// The driver wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The resource name wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// The PCI address expected.
    #[serde(
        rename = "pciAddress",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub pci_address: Option<String>,
}

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
    /// True when the agent has taken away all that it added, so that the interface may be detached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// The generation of the record that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
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
    /// Programs and settings are being taken away.
    Releasing,
    /// They are gone.
    Released,
    /// Something that the agent cannot mend; see `message`.
    Failed,
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

/// The name of the record for one NodeENI, instance and subnet.
///
/// A replaced instance, a re-created NodeENI or another subnet is another record, so that a new
/// interface can be ready before the old one goes. The NodeENI's name is cut so that the whole fits
/// into the 253 characters that Kubernetes allows.
#[must_use]
pub fn record_name(node_eni: &NodeEniRef, instance: &InstanceId, subnet: &SubnetId) -> String {
    name(node_eni, instance, subnet.as_str())
}

/// The name of the record for one NodeENI, instance and pool, whichever member it gets.
#[must_use]
pub fn pool_record_name(node_eni: &NodeEniRef, instance: &InstanceId, pool: &PoolRef) -> String {
    // No subnet's ID looks like this.
    name(node_eni, instance, &format!("pool/{}", pool.name))
}

fn name(node_eni: &NodeEniRef, instance: &InstanceId, place: &str) -> String {
    let digest = hash::short([instance.as_str(), &node_eni.uid, place]);
    let stem = &node_eni.name[..node_eni.name.len().min(253 - 11)];
    format!("{}-{digest}", stem.trim_end_matches(['.', '-']))
}
