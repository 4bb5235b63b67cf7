//! `ENIPool`: interfaces with fixed addresses that follow replaced instances.

use std::net::Ipv4Addr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DeletionPolicy, GroupId, SubnetId, TagSelector, conditions::list_map};

/// Interfaces with fixed addresses, lent to one node after the other.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "networking.k8s.aws",
    version = "v1alpha1",
    kind = "ENIPool",
    root = "EniPool",
    plural = "enipools",
    singular = "enipool",
    shortname = "epool",
    category = "eniway",
    doc = "Network interfaces (ENIs) with fixed addresses that follow replaced instances.",
    status = "EniPoolStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Members",
        type_ = "integer",
        json_path = ".status.members",
        description = "Interfaces of the pool."
    ),
    printcolumn(
        name = "Free",
        type_ = "integer",
        json_path = ".status.free",
        description = "Interfaces that the next node may have."
    ),
    printcolumn(
        name = "InUse",
        type_ = "integer",
        json_path = ".status.inUse",
        description = "Interfaces that somebody has."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
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
#[x_kube(validation = Rule::new("has(self.selector) != (has(self.members) && size(self.members) > 0)").message("say which interfaces: either selector, for those that exist, or members, for those that eniway makes"))]
#[x_kube(validation = Rule::new("has(self.selector) == has(oldSelf.selector)").message("selector and members never take each other's place: make another pool"))]
#[x_kube(validation = Rule::new("has(self.selector) != ((has(self.securityGroupIDs) && size(self.securityGroupIDs) > 0) || (has(self.securityGroupNames) && size(self.securityGroupNames) > 0))").message("members need securityGroupIDs or securityGroupNames; what a selector finds keeps its own"))]
#[x_kube(validation = Rule::new("!(has(self.selector) && has(self.deletionPolicy) && self.deletionPolicy == 'Delete')").message("eniway never deletes interfaces that it did not make: drop deletionPolicy"))]
pub struct EniPoolSpec {
    /// Interfaces that exist: all in the cluster's VPC that bear the tags. eniway attaches and detaches
    /// them, and neither makes nor deletes any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<TagSelector>,
    /// Interfaces that eniway makes, each with its address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 256,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["subnetID", "address"]
    ))]
    pub members: Vec<PoolMember>,
    /// Security groups of the members, by ID.
    #[serde(
        rename = "securityGroupIDs",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(extend("maxItems" = 16))]
    pub security_group_ids: Vec<GroupId>,
    /// Security groups of the members, by name (or tag `Name`), inside the cluster's VPC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16))]
    pub security_group_names: Vec<String>,
    /// What becomes of a free interface that eniway made when it leaves the list, or with the pool.
    /// `Retain`: it stays in EC2 with its address, and a pool of the same name takes it up again.
    /// `Delete`: it goes. Default `Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// An interface that eniway makes.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct PoolMember {
    /// Its subnet.
    #[serde(rename = "subnetID")]
    pub subnet_id: SubnetId,
    /// Its primary IPv4 address, which it keeps for life.
    pub address: Address,
}

/// An IPv4 address.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Address(
    #[schemars(
        with = "String",
        length(max = 15),
        regex(
            pattern = "^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$"
        )
    )]
    pub Ipv4Addr,
);

impl Default for Address {
    fn default() -> Self {
        Self(Ipv4Addr::UNSPECIFIED)
    }
}

/// How full a pool is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EniPoolStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Interfaces of the pool.
    #[serde(default)]
    pub members: u32,
    /// Interfaces that the next node may have.
    #[serde(default)]
    pub free: u32,
    /// Interfaces that somebody has: a node, another cluster, whoever attached them.
    #[serde(default)]
    pub in_use: u32,
    /// The same by zone: an interface never leaves its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["zone"]
    ))]
    pub zones: Vec<PoolZone>,
    /// `Ready`: every interface that the pool asks for is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_map")]
    pub conditions: Vec<Condition>,
}

/// How full a pool is in one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolZone {
    /// The zone's name.
    pub zone: String,
    /// Interfaces of the pool there.
    pub total: u32,
    /// Those that the next node may have.
    pub free: u32,
}

/// Which pool the interfaces come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolRef {
    /// The ENIPool's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl EniPoolSpec {
    /// What becomes of what eniway made.
    #[must_use]
    pub fn deletes(&self) -> bool {
        self.deletion_policy == Some(DeletionPolicy::Delete)
    }
}
