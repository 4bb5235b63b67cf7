//! What a world begins with, as a caller or a YAML file says it, and the world made from it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::action::CreateNetworkInterface;
use crate::error::ApiError;
use crate::ids::{GroupId, InstanceId, SubnetId, VpcId};
use crate::instance_type::InstanceType;
use crate::model::{Group, Instance, InstanceState, Slot, Subnet, Tags, Vpc};
use crate::pool::Pool;
use crate::settings::Settings;
use crate::world::World;

/// A world to build. Every id that is left out is made from the seed.
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
    pub instances: Vec<InstanceSpec>,
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

impl WorldSpec {
    /// Builds the world as it is at `now`.
    ///
    /// # Errors
    /// What in the spec contradicts itself.
    pub fn build(self, now: Timestamp) -> Result<World, SpecError> {
        let mut world = World::empty(self.seed, self.settings);
        if let Some(region) = self.region {
            world.region = region;
        }
        if let Some(account) = self.account {
            world.account = account;
        }
        for vpc in self.vpcs {
            world.add_vpc(vpc)?;
        }
        for subnet in self.subnets {
            world.add_subnet(subnet)?;
        }
        for group in self.security_groups {
            world.add_group(group)?;
        }
        for instance in self.instances {
            world.add_instance(instance, now)?;
        }
        Ok(world)
    }
}

impl World {
    /// Adds a VPC.
    ///
    /// # Errors
    /// Its id is malformed or taken.
    pub fn add_vpc(&mut self, spec: VpcSpec) -> Result<VpcId, SpecError> {
        let id = check(spec.id, VpcId::as_str, VpcId::parse)?.unwrap_or_else(|| self.namer.vpc());
        let vpc = Vpc {
            id: id.clone(),
            cidr: spec.cidr,
            ipv6_cidr: spec.ipv6_cidr,
            tags: spec.tags,
        };
        insert_once(&mut self.vpcs, &id, vpc)?;
        Ok(id)
    }

    /// Adds a subnet.
    ///
    /// # Errors
    /// Its VPC is unknown, or its block does not fit.
    pub fn add_subnet(&mut self, spec: SubnetSpec) -> Result<SubnetId, SpecError> {
        let id = check(spec.id, SubnetId::as_str, SubnetId::parse)?
            .unwrap_or_else(|| self.namer.subnet());
        let vpc = self.vpc_or_first(spec.vpc, "subnet", id.as_str())?;
        let fits = self
            .vpcs
            .get(&vpc)
            .is_some_and(|vpc| vpc.cidr.contains(&spec.cidr));
        if !fits || !(16..=28).contains(&spec.cidr.prefix_len()) {
            return Err(SpecError::SubnetCidr {
                subnet: id,
                cidr: spec.cidr,
                vpc,
            });
        }
        let pool = Pool::new(spec.cidr.trunc(), spec.ipv6_cidr.map(|cidr| cidr.trunc()));
        let subnet = Subnet {
            id: id.clone(),
            vpc,
            zone: spec.zone,
            tags: spec.tags,
            pool,
        };
        insert_once(&mut self.subnets, &id, subnet)?;
        Ok(id)
    }

    /// Adds a security group.
    ///
    /// # Errors
    /// Its VPC is unknown, or its id is malformed or taken.
    pub fn add_group(&mut self, spec: GroupSpec) -> Result<GroupId, SpecError> {
        let id =
            check(spec.id, GroupId::as_str, GroupId::parse)?.unwrap_or_else(|| self.namer.group());
        let vpc = self.vpc_or_first(spec.vpc, "security group", id.as_str())?;
        let description = format!("{} of the simulator", spec.name);
        let group = Group {
            id: id.clone(),
            name: spec.name,
            description,
            vpc,
            tags: spec.tags,
        };
        insert_once(&mut self.groups, &id, group)?;
        Ok(id)
    }

    /// Adds an instance with its primary interface, as if it had been started long ago.
    ///
    /// # Errors
    /// Its type or subnet is unknown, or its address is not free.
    pub fn add_instance(
        &mut self,
        spec: InstanceSpec,
        now: Timestamp,
    ) -> Result<InstanceId, SpecError> {
        let id = check(spec.id, InstanceId::as_str, InstanceId::parse)?
            .unwrap_or_else(|| self.namer.instance());
        if self.instances.get(&id).is_some() {
            return Err(SpecError::Twice(id.to_string()));
        }
        let Some(limits) = InstanceType::find(&spec.instance_type) else {
            return Err(SpecError::InstanceType {
                instance: id,
                name: spec.instance_type,
            });
        };
        if spec.mac.as_deref().is_some_and(|mac| !is_mac(mac)) {
            return Err(SpecError::Mac {
                instance: id,
                mac: spec.mac.unwrap_or_default(),
            });
        }
        let Some(subnet) = self.subnets.get(&spec.subnet) else {
            return Err(SpecError::UnknownSubnet {
                instance: id,
                subnet: spec.subnet,
            });
        };
        let instance = Instance {
            id: id.clone(),
            limits,
            subnet: spec.subnet.clone(),
            vpc: subnet.vpc.clone(),
            zone: subnet.zone.clone(),
            state: spec.state.unwrap_or(InstanceState::Running),
            image: "ami-00000000000000001".to_owned(),
            launch_time: now,
            tags: spec.tags,
            interfaces: BTreeMap::new(),
        };
        let primary = CreateNetworkInterface {
            primary: spec.private_ip,
            groups: spec.security_groups,
            ..CreateNetworkInterface::in_subnet(spec.subnet)
        };
        let eni = self
            .create_interface(&primary, spec.mac, now)
            .map_err(|source| SpecError::Primary {
                instance: id.clone(),
                source,
            })?;
        self.instances.insert(now, id.clone(), instance);
        self.tie(&eni, &id, Slot::PRIMARY, true, now);
        Ok(id)
    }

    fn vpc_or_first(
        &self,
        vpc: Option<VpcId>,
        what: &'static str,
        id: &str,
    ) -> Result<VpcId, SpecError> {
        match vpc {
            Some(vpc) if self.vpcs.contains_key(&vpc) => Ok(vpc),
            Some(vpc) => Err(SpecError::UnknownVpc {
                what,
                id: id.to_owned(),
                vpc,
            }),
            None => self
                .vpcs
                .keys()
                .next()
                .cloned()
                .ok_or_else(|| SpecError::NoVpc {
                    what,
                    id: id.to_owned(),
                }),
        }
    }
}

fn check<T>(
    id: Option<T>,
    text: fn(&T) -> &str,
    parse: fn(&str) -> Result<T, ApiError>,
) -> Result<Option<T>, SpecError> {
    if let Some(id) = &id {
        parse(text(id)).map_err(|source| SpecError::Id {
            id: text(id).to_owned(),
            source,
        })?;
    }
    Ok(id)
}

fn insert_once<K: Ord + Clone + ToString, V>(
    map: &mut BTreeMap<K, V>,
    key: &K,
    value: V,
) -> Result<(), SpecError> {
    if map.contains_key(key) {
        return Err(SpecError::Twice(key.to_string()));
    }
    map.insert(key.clone(), value);
    Ok(())
}

fn is_mac(text: &str) -> bool {
    let pairs: Vec<&str> = text.split(':').collect();
    pairs.len() == 6
        && pairs.iter().all(|pair| {
            pair.len() == 2
                && pair
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
}
