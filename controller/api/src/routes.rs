//! Routes of the VPC: what a user asks for, and what became of it.

use ipnet::IpNet;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EniId, RouteTableId};

/// A route of the VPC that is kept pointing at one of the NodeENI's interfaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VpcRoute {
    /// The route table.
    #[serde(rename = "routeTableID")]
    pub route_table_id: RouteTableId,
    /// Where the packets go to, as 10.9.0.0/16.
    #[schemars(with = "String", length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self) && cidr(self) == cidr(self).masked()").message("destination is a network, as 10.9.0.0/16 or 2001:db8::/64"))]
    pub destination: IpNet,
}

/// A route of the VPC that leads, or led, to an interface of the NodeENI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// The route table.
    #[serde(rename = "routeTableID")]
    pub route_table_id: RouteTableId,
    /// Where the packets go to.
    #[schemars(with = "String")]
    pub destination: IpNet,
    /// The interface.
    #[serde(rename = "eniID")]
    pub eni_id: EniId,
    /// Whether eniway created the route; only such a one is deleted.
    #[serde(default)]
    pub created: bool,
}
