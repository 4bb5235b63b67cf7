//! What a world begins with, as a caller or a YAML file says it.

mod build;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::ids::{AllocationId, GroupId, InstanceId, RouteTableId, SubnetId, VpcId};
use crate::model::{InstanceState, Tags};
use crate::settings::Settings;

/// A world to build. Every id that is left out is made from the seed.
///
/// ```yaml
/// vpcs: [{id: vpc-00000001, cidr: 10.0.0.0/16}]
/// subnets:
///   - {id: subnet-0000000a, zone: us-east-1a, cidr: 10.0.1.0/24, tags: {Name: multus-a}}
/// security_groups: [{id: sg-00000001, name: default}]
/// instances:
///   - {id: i-00000001, instance_type: m5.large, subnet: subnet-0000000a, private_ip: 10.0.1.10}
/// settings: {attach_ms: 500, buckets: true}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldSpec {
    pub seed: u64,
    pub region: Option<String>,
    pub account: Option<String>,
    pub settings: Settings,
    pub vpcs: Vec<VpcSpec>,
    pub subnets: Vec<SubnetSpec>,
    pub security_groups: Vec<GroupSpec>,
    pub route_tables: Vec<RouteTableSpec>,
    pub instances: Vec<InstanceSpec>,
    pub elastic_ips: Vec<ElasticIpSpec>,
    /// Names of queues that get what EventBridge tells of instances.
    pub queues: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpcSpec {
    pub id: Option<VpcId>,
    pub cidr: Ipv4Net,
    #[serde(default)]
    pub ipv6_cidr: Option<Ipv6Net>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetSpec {
    pub id: Option<SubnetId>,
    /// The first VPC, if left out.
    pub vpc: Option<VpcId>,
    pub zone: String,
    pub cidr: Ipv4Net,
    #[serde(default)]
    pub ipv6_cidr: Option<Ipv6Net>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    pub id: Option<GroupId>,
    pub name: String,
    /// The first VPC, if left out.
    pub vpc: Option<VpcId>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTableSpec {
    pub id: Option<RouteTableId>,
    /// The first VPC, if left out.
    pub vpc: Option<VpcId>,
    #[serde(default)]
    pub tags: Tags,
    /// Destinations that lead to a gateway, by its id; those of the VPC itself are there already.
    #[serde(default)]
    pub gateways: BTreeMap<IpNet, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    pub id: Option<InstanceId>,
    pub instance_type: String,
    pub subnet: SubnetId,
    #[serde(default)]
    pub private_ip: Option<Ipv4Addr>,
    /// MAC address of the primary interface.
    #[serde(default)]
    pub mac: Option<String>,
    /// `running`, if left out.
    #[serde(default)]
    pub state: Option<InstanceState>,
    #[serde(default)]
    pub security_groups: Vec<GroupId>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticIpSpec {
    pub id: Option<AllocationId>,
    pub public_ip: Ipv4Addr,
    #[serde(default)]
    pub tags: Tags,
}

impl InstanceSpec {
    #[must_use]
    pub fn new(instance_type: &str, subnet: &SubnetId) -> Self {
        Self {
            id: None,
            instance_type: instance_type.to_owned(),
            subnet: subnet.clone(),
            private_ip: None,
            mac: None,
            state: None,
            security_groups: Vec::new(),
            tags: BTreeMap::new(),
        }
    }
}

/// Why a world cannot be built as it is said.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error(
        "{what} {id} names the VPC {vpc}, which is not among the vpcs: add it, or leave the VPC out to use the first one"
    )]
    UnknownVpc {
        what: &'static str,
        id: String,
        vpc: VpcId,
    },
    #[error("{what} {id} needs a VPC, and there is none: add one to vpcs")]
    NoVpc { what: &'static str, id: String },
    #[error("subnet {subnet}: {cidr} is not a block from /16 to /28 inside its VPC {vpc}")]
    SubnetCidr {
        subnet: SubnetId,
        cidr: Ipv4Net,
        vpc: VpcId,
    },
    #[error("the id {0} is used twice")]
    Twice(String),
    #[error("the id {id} is not one of EC2's: {source}")]
    Id { id: String, source: ApiError },
    #[error("instance {instance}: the type {name} is unknown here: use one of instance_type.rs")]
    InstanceType { instance: InstanceId, name: String },
    #[error("instance {instance}: subnet {subnet} does not exist")]
    UnknownSubnet {
        instance: InstanceId,
        subnet: SubnetId,
    },
    #[error("instance {instance}: its primary interface cannot be made")]
    Primary {
        instance: InstanceId,
        source: ApiError,
    },
    #[error("instance {instance}: {mac} is not a MAC address in lower case")]
    Mac { instance: InstanceId, mac: String },
}
