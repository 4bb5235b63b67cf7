//! Builds a world from what is said of it, and adds to one that runs.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    ElasticIpSpec, GroupSpec, InstanceSpec, RouteTableSpec, SpecError, SubnetSpec, VpcSpec,
    WorldSpec,
};
use crate::action::CreateNetworkInterface;
use crate::elastic_ip::ElasticIp;
use crate::error::ApiError;
use crate::ids::{AllocationId, GroupId, InstanceId, RouteTableId, SubnetId, VpcId};
use crate::instance_type::InstanceType;
use crate::model::{Group, Instance, InstanceState, Slot, Subnet, Vpc};
use crate::pool::Pool;
use crate::route_table::{RouteTable, Target};
use crate::world::World;

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
        for queue in &self.queues {
            world.add_queue(queue);
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
        for table in self.route_tables {
            world.add_route_table(table, now)?;
        }
        for instance in self.instances {
            world.add_instance(instance, now)?;
        }
        for elastic_ip in self.elastic_ips {
            world.add_elastic_ip(elastic_ip, now)?;
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

    /// Adds a route table, with the routes inside its VPC.
    ///
    /// # Errors
    /// Its VPC is unknown, or its id is malformed or taken.
    pub fn add_route_table(
        &mut self,
        spec: RouteTableSpec,
        now: Timestamp,
    ) -> Result<RouteTableId, SpecError> {
        let id = check(spec.id, RouteTableId::as_str, RouteTableId::parse)?
            .unwrap_or_else(|| self.namer.route_table());
        if self.route_tables.get(&id).is_some() {
            return Err(SpecError::Twice(id.to_string()));
        }
        let vpc = self.vpc_or_first(spec.vpc, "route table", id.as_str())?;
        let mut routes: BTreeMap<_, _> = spec
            .gateways
            .into_iter()
            .map(|(destination, gateway)| (destination.trunc(), Target::Gateway(gateway)))
            .collect();
        if let Some(network) = self.vpcs.get(&vpc) {
            routes.insert(network.cidr.into(), Target::Local);
            if let Some(cidr) = network.ipv6_cidr {
                routes.insert(cidr.into(), Target::Local);
            }
        }
        let table = RouteTable {
            id: id.clone(),
            vpc,
            tags: spec.tags,
            routes,
        };
        self.route_tables.insert(now, id.clone(), table);
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

    /// Allocates an Elastic IP.
    ///
    /// # Errors
    /// Its id is malformed or taken.
    pub fn add_elastic_ip(
        &mut self,
        spec: ElasticIpSpec,
        now: Timestamp,
    ) -> Result<AllocationId, SpecError> {
        let id = check(spec.id, AllocationId::as_str, AllocationId::parse)?
            .unwrap_or_else(|| self.namer.allocation());
        if self.elastic_ips.get(&id).is_some() {
            return Err(SpecError::Twice(id.to_string()));
        }
        let elastic_ip = ElasticIp {
            id: id.clone(),
            public_ip: spec.public_ip,
            tags: spec.tags,
            association: None,
        };
        self.elastic_ips.insert(now, id.clone(), elastic_ip);
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
