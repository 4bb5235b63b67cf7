//! `NodeENI`: the wish of a user for interfaces on the nodes that a selector matches.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::{
    apis::meta::v1::{Condition, Time},
    util::intstr::IntOrString,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AttachmentId, DataPath, DeviceIndex, DpdkOptions, ElasticIpWish, EniId, GroupId, InstanceId,
    InterfaceWish, Ipv4Wish, Ipv6Wish, NodeSelectorExpression, PoolRef, RouteStatus, SubnetId,
    TagSelector, VpcRoute, conditions::list_map,
};

/// Network interfaces for the nodes that a label selector matches.
///
/// A field that is absent has its default where it is used, so that "not said" stays visible.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "networking.k8s.aws",
    version = "v1alpha1",
    kind = "NodeENI",
    root = "NodeEni",
    plural = "nodeenis",
    singular = "nodeeni",
    shortname = "neni",
    category = "eniway",
    doc = "Network interfaces (ENIs) for the nodes that a label selector matches.",
    status = "NodeEniStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Nodes",
        type_ = "integer",
        json_path = ".status.nodes",
        description = "Nodes that the selector matches."
    ),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".status.desired",
        description = "Interfaces wanted."
    ),
    printcolumn(
        name = "Attached",
        type_ = "integer",
        json_path = ".status.attached",
        description = "Interfaces that EC2 reports as attached."
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.ready",
        description = "Interfaces that their node reports as ready."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why all is well, or what is missing."
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
#[x_kube(validation = Rule::new("(has(self.nodeSelector) && size(self.nodeSelector) > 0) || (has(self.nodeSelectorExpressions) && size(self.nodeSelectorExpressions) > 0)").message("an empty nodeSelector would match every node: name a label in nodeSelector or nodeSelectorExpressions"))]
#[x_kube(validation = Rule::new("(has(self.subnetID) && self.subnetID != '') || (has(self.subnetIDs) && size(self.subnetIDs) > 0) || (has(self.subnetName) && self.subnetName != '') || (has(self.subnetNames) && size(self.subnetNames) > 0) || has(self.subnetSelector) || has(self.poolRef)").message("name a subnet: one of subnetID, subnetIDs, subnetName, subnetNames, subnetSelector; or a pool: poolRef"))]
#[x_kube(validation = Rule::new("(has(self.securityGroupIDs) && size(self.securityGroupIDs) > 0) || (has(self.securityGroupNames) && size(self.securityGroupNames) > 0) || has(self.securityGroupSelector) || has(self.poolRef)").message("name a security group: one of securityGroupIDs, securityGroupNames, securityGroupSelector"))]
#[x_kube(validation = Rule::new("!((has(self.enableDPDK) && self.enableDPDK) || (has(self.dpdkEnabled) && self.dpdkEnabled)) || !has(self.dataPath)").message("an interface that DPDK drives runs no XDP or TC program: drop dataPath or enableDPDK"))]
#[x_kube(validation = Rule::new("!((has(self.enableDPDK) && self.enableDPDK) || (has(self.dpdkEnabled) && self.dpdkEnabled)) || !has(self.interface)").message("an interface that DPDK drives is not in the node's network: drop interface or enableDPDK"))]
#[x_kube(validation = Rule::new("!(has(self.deletionPolicy) && self.deletionPolicy == 'Retain' && has(self.deleteOnTermination) && self.deleteOnTermination)").message("deleteOnTermination: true deletes what deletionPolicy: Retain keeps: drop one of them"))]
#[x_kube(validation = Rule::new("!has(self.poolRef) || !(has(self.subnetID) || has(self.subnetIDs) || has(self.subnetName) || has(self.subnetNames) || has(self.subnetSelector) || has(self.subnetPolicy))").message("with poolRef the pool's members say the subnets: drop the fields of subnets"))]
#[x_kube(validation = Rule::new("!has(self.poolRef) || !(has(self.securityGroupIDs) || has(self.securityGroupNames) || has(self.securityGroupSelector) || has(self.description) || has(self.tags))").message("with poolRef the pool says what its members are: drop the fields of security groups, description and tags"))]
#[x_kube(validation = Rule::new("!has(self.poolRef) || !(has(self.ipv4) || has(self.ipv6) || has(self.elasticIP))").message("a member of a pool keeps its addresses: drop ipv4, ipv6 and elasticIP"))]
#[x_kube(validation = Rule::new("!has(self.poolRef) || !(has(self.deletionPolicy) || (has(self.deleteOnTermination) && self.deleteOnTermination))").message("a member of a pool outlives its node: drop deletionPolicy and deleteOnTermination"))]
pub struct NodeEniSpec {
    /// Labels that a node must have, all of them. This and nodeSelectorExpressions both empty is
    /// refused: it would match every node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Conditions that a node's labels must meet, all of them, beside nodeSelector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "atomic"))]
    pub node_selector_expressions: Vec<NodeSelectorExpression>,

    /// A subnet by ID. The five subnet fields are one list, in the order subnetID, subnetIDs,
    /// subnetName, subnetNames, subnetSelector.
    #[serde(rename = "subnetID", default, skip_serializing_if = "Option::is_none")]
    pub subnet_id: Option<SubnetId>,
    /// Subnets by ID.
    #[serde(rename = "subnetIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32))]
    pub subnet_ids: Vec<SubnetId>,
    /// A subnet by its tag `Name`, inside the cluster's VPC. A name that two subnets bear is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub subnet_name: Option<String>,
    /// Subnets by their tags `Name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32))]
    pub subnet_names: Vec<String>,
    /// Subnets by their tags, inside the cluster's VPC: all that match, by ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_selector: Option<TagSelector>,
    /// `All`: one interface for each subnet. `MatchZone`: one interface, in the subnet of the node's
    /// zone with the most free addresses. Default `All`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_policy: Option<SubnetPolicy>,

    /// Take the interface from a pool, in the node's zone, instead of creating one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_ref: Option<PoolRef>,

    /// Security groups by ID. The three fields of security groups together name at least one.
    #[serde(
        rename = "securityGroupIDs",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(extend("maxItems" = 16))]
    pub security_group_ids: Vec<GroupId>,
    /// Security groups by name (or tag `Name`), inside the cluster's VPC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16))]
    pub security_group_names: Vec<String>,
    /// Security groups by their tags, inside the cluster's VPC: all that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_group_selector: Option<TagSelector>,

    /// The device index of the first subnet's interface; the next ones count up, and an index that is
    /// taken is passed over. Default: the first free one from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_index: Option<DeviceIndex>,
    /// The network card, on instance types that have several. Device indexes are counted on each card
    /// anew. Default 0. Like deviceIndex it is for interfaces that are yet to be attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 31))]
    pub network_card_index: Option<u8>,
    /// The number of the interface's ENA queues, on instance types on which it can be chosen. Where it
    /// cannot, the interface is attached without it and the condition `Ready` says so. A change on a live
    /// interface may reset the device. Absent: as the type gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub ena_queue_count: Option<u16>,
    /// What becomes of an interface that is no longer wanted. `Delete`: it goes. `Retain`: it is detached
    /// and left in EC2 with the tag eniway.io/role=retained; nobody touches it any more. Default `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// How many nodes a change may take an interface from at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,
    /// Whether EC2 deletes the interface with its instance. Default true; false with
    /// `deletionPolicy: Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_on_termination: Option<bool>,
    /// EC2's source/destination check, and the same check in the data path. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_dest_check: Option<bool>,
    /// The interface's description in EC2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub description: Option<String>,
    /// Tags of the interface in EC2, beside those that eniway sets. The prefixes `aws:` and
    /// `eniway.io/` are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 30))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('aws:') && !key.startsWith('eniway.io/') && size(key) > 0 && size(key) <= 128)").message("a tag key has 1 to 128 characters and starts with neither aws: nor eniway.io/"))]
    pub tags: BTreeMap<String, Tag>,
    /// IPv4 addresses and prefixes beside the primary address, followed while an interface lives.
    /// Absent: they are observed and never changed. What somebody else assigned always stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Wish>,
    /// IPv6 addresses and prefixes; the same rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Wish>,
    /// One of these Elastic IPs is associated with the primary address of each interface, once it is
    /// attached, and taken off before it goes. Absent: none is associated.
    #[serde(rename = "elasticIP", default, skip_serializing_if = "Option::is_none")]
    pub elastic_ip: Option<ElasticIpWish>,
    /// Bytes, without the Ethernet header. Absent or 0: as the driver sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9216))]
    #[x_kube(validation = Rule::new("self == 0 || self >= 1280").message("mtu is 0 (leave it) or 1280 to 9216"))]
    pub mtu: Option<u32>,
    /// Its name, addresses and routes on the node. Absent: the node's network is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceWish>,
    /// The XDP and TC programs. Absent: no XDP, the check runs on TC and only counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_path: Option<DataPath>,
    /// Routes of the VPC that are kept pointing at a ready interface of this NodeENI. One that leads
    /// elsewhere is never touched. To forward packets, `sourceDestCheck` must be false.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["routeTableID", "destination"]))]
    pub routes: Vec<VpcRoute>,

    /// Give the interface to DPDK (vfio-pci) instead of the kernel.
    #[serde(
        rename = "enableDPDK",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub enable_dpdk: Option<bool>,
    /// The same as enableDPDK, which is the name to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk_enabled: Option<bool>,
    /// The driver for DPDK. Default vfio-pci.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub dpdk_driver: Option<String>,
    /// The resource under which the kubelet offers the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub dpdk_resource_name: Option<String>,
    /// The PCI address at which the device is expected; checked against the interface's MAC address.
    #[serde(
        rename = "dpdkPCIAddress",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(
        length(max = 32),
        regex(pattern = "^[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7]$")
    )]
    pub dpdk_pci_address: Option<String>,
    /// More about DPDK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk: Option<DpdkOptions>,
}

/// The value of an EC2 tag: at most 256 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Tag(#[schemars(length(max = 256))] pub String);

/// How the subnets of a NodeENI are shared out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubnetPolicy {
    /// One interface for each subnet.
    #[default]
    All,
    /// One interface, in the node's zone.
    MatchZone,
}

/// What becomes of an interface that is no longer wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted.
    #[default]
    Delete,
    /// It is detached and stays in EC2.
    Retain,
}

/// How many nodes a change may take an interface from at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdatePolicy {
    /// Nodes that may be without an interface at the same time while a change replaces it and the
    /// instance has no place for the old one and the new one: a number or a share, rounded up. Where
    /// there is a place, the new one comes first and nothing is missing. Default 10%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("type(self) == int ? self >= 1 : self.matches('^(100|[1-9][0-9]?)%$')").message("maxUnavailable is a number from 1, or a share from 1% to 100%"))]
    pub max_unavailable: Option<IntOrString>,
}

/// What became of a NodeENI: counts, conditions, and the list that users of J know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeEniStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Nodes that the selector matches.
    #[serde(default)]
    pub nodes: u32,
    /// Interfaces wanted on them.
    #[serde(default)]
    pub desired: u32,
    /// Interfaces that EC2 reports as attached.
    #[serde(default)]
    pub attached: u32,
    /// Interfaces that their node reports as ready.
    #[serde(default)]
    pub ready: u32,
    /// `Ready` sums up; its reason is the worst that holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_map")]
    pub conditions: Vec<Condition>,
    /// The first 1,000 attachments, by node name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub attachments: Vec<AttachmentSummary>,
    /// Routes of the VPC that lead to the interfaces, or led there last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub routes: Vec<RouteStatus>,
    /// Whether there are more attachments than the list holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attachments_truncated: bool,
}

/// One attachment in a NodeENI's status. The record itself is a NodeENIAttachment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentSummary {
    /// The node's name.
    #[serde(rename = "nodeID")]
    pub node_id: String,
    /// Its instance.
    #[serde(
        rename = "instanceID",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub instance_id: Option<InstanceId>,
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
    /// Its subnet.
    #[serde(rename = "subnetID", default, skip_serializing_if = "Option::is_none")]
    pub subnet_id: Option<SubnetId>,
    /// The subnet's IPv4 block.
    #[serde(
        rename = "subnetCIDR",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub subnet_cidr: Option<String>,
    /// Bytes, as observed on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Its device index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_index: Option<DeviceIndex>,
    /// `attaching`, `attached`, `detaching`, `detached`, or empty before there is an interface.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// When one of these fields last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Time>,
    /// Whether the device is bound to a DPDK driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk_bound: Option<bool>,
    /// The DPDK driver it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk_driver: Option<String>,
    /// The resource it is offered as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk_resource_name: Option<String>,
    /// Its PCI address.
    #[serde(
        rename = "dpdkPCIAddress",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub dpdk_pci_address: Option<String>,
}

impl NodeEniSpec {
    /// Whether the interface is asked for by DPDK, under either spelling.
    #[must_use]
    pub fn wants_dpdk(&self) -> bool {
        self.enable_dpdk.or(self.dpdk_enabled).unwrap_or(false)
    }
}
