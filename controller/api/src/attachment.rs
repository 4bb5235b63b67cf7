//! `NodeENIAttachment`: the write-ahead record of one interface on one instance.
//!
//! It exists before EC2 is called and until EC2 has confirmed that the interface is gone.

mod status;

use std::collections::{BTreeMap, BTreeSet};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::status::{
    Ec2State, Ec2Status, EgressCheck, NodeEniAttachmentStatus, NodePhase, NodeStatus, XdpStatus,
};
use crate::{
    DataPath, DeletionPolicy, DeviceIndex, Dpdk, ElasticIpWish, EniId, GroupId, InstanceId,
    InterfaceWish, Ipv4Wish, Ipv6Wish, PoolRef, SubnetId, hash,
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
        name = "Public IP",
        type_ = "string",
        json_path = ".status.ec2.publicIP",
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
    /// The number of ENA queues wanted. Absent: as the instance type gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub ena_queue_count: Option<u16>,
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
    /// The Elastic IPs of which one belongs to the primary address. Absent: none is associated.
    #[serde(rename = "elasticIP", default, skip_serializing_if = "Option::is_none")]
    pub elastic_ip: Option<ElasticIpWish>,
    /// An interface that aws-multi-eni-controller made and attached: it becomes this record's, as it
    /// is, and none is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<EniId>,
    /// Bytes, without the Ethernet header. Absent: as the driver sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Its name, addresses and routes on the node. Absent: the node's network is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceWish>,
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
