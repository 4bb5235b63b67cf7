//! CreateNetworkInterface and DeleteNetworkInterface.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::describe_interfaces::write_interface;
use super::tags::{check_new_tags, merged};
use crate::error::{ApiError, api, invalid_combination, invalid_value, no_group, no_subnet};
use crate::event::What;
use crate::ids::{EniId, GroupId, SubnetId, VpcId};
use crate::lifecycle::give_back;
use crate::model::{Interface, Tags};
use crate::pool::Pool;
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

/// An interface to be made.
#[derive(Clone, Debug)]
pub struct CreateNetworkInterface {
    pub subnet: SubnetId,
    pub description: String,
    pub kind: String,
    pub groups: Vec<GroupId>,
    /// Any free address, if left out.
    pub primary: Option<Ipv4Addr>,
    pub secondary: Vec<Ipv4Addr>,
    pub secondary_count: usize,
    pub prefixes: Vec<Ipv4Net>,
    pub prefix_count: usize,
    pub ipv6_addresses: Vec<Ipv6Addr>,
    pub ipv6_address_count: usize,
    pub ipv6_prefix_count: usize,
    pub tags: Vec<(String, String)>,
}

impl CreateNetworkInterface {
    #[must_use]
    pub fn in_subnet(subnet: SubnetId) -> Self {
        Self {
            subnet,
            description: String::new(),
            kind: "interface".to_owned(),
            groups: Vec::new(),
            primary: None,
            secondary: Vec::new(),
            secondary_count: 0,
            prefixes: Vec::new(),
            prefix_count: 0,
            ipv6_addresses: Vec::new(),
            ipv6_address_count: 0,
            ipv6_prefix_count: 0,
            tags: Vec::new(),
        }
    }

    fn parse(request: &Request) -> Result<Self, ApiError> {
        let mut wanted = Self::in_subnet(SubnetId::parse(request.required("SubnetId")?)?);
        wanted.description = request.text("Description").unwrap_or_default().to_owned();
        if let Some(kind) = request.text("InterfaceType") {
            if !matches!(kind, "interface" | "efa" | "efa-only" | "trunk" | "branch") {
                return Err(invalid_value(format!(
                    "Value ({kind}) for parameter interfaceType is invalid."
                )));
            }
            kind.clone_into(&mut wanted.kind);
        }
        wanted.groups = request
            .list("SecurityGroupId")
            .into_iter()
            .map(GroupId::parse)
            .collect::<Result<_, _>>()?;
        wanted.primary = request.value("PrivateIpAddress")?;
        for item in request.items("PrivateIpAddresses") {
            let Some(address) = request.value(&format!("{item}.PrivateIpAddress"))? else {
                return Err(crate::error::missing("PrivateIpAddresses.PrivateIpAddress"));
            };
            if !request.flag(&format!("{item}.Primary"))?.unwrap_or(false) {
                wanted.secondary.push(address);
            } else if wanted
                .primary
                .replace(address)
                .is_some_and(|primary| primary != address)
            {
                return Err(invalid_combination(
                    "Only one primary private IP address can be specified.",
                ));
            }
        }
        wanted.secondary_count = request
            .value("SecondaryPrivateIpAddressCount")?
            .unwrap_or(0);
        wanted.prefixes = request
            .items("Ipv4Prefix")
            .iter()
            .filter_map(|item| request.value(&format!("{item}.Ipv4Prefix")).transpose())
            .collect::<Result<_, _>>()?;
        wanted.prefix_count = request.value("Ipv4PrefixCount")?.unwrap_or(0);
        wanted.ipv6_addresses = request
            .items("Ipv6Addresses")
            .iter()
            .filter_map(|item| request.value(&format!("{item}.Ipv6Address")).transpose())
            .collect::<Result<_, _>>()?;
        wanted.ipv6_address_count = request.value("Ipv6AddressCount")?.unwrap_or(0);
        wanted.ipv6_prefix_count = request.value("Ipv6PrefixCount")?.unwrap_or(0);
        wanted.tags = request.tag_specifications("network-interface")?;
        wanted.check_combinations()?;
        Ok(wanted)
    }

    fn check_combinations(&self) -> Result<(), ApiError> {
        let counted_secondary = self.secondary_count > 0;
        let named_secondary = !self.secondary.is_empty();
        if counted_secondary && named_secondary {
            return Err(exclusive(
                "privateIpAddresses",
                "secondaryPrivateIpAddressCount",
            ));
        }
        let wants_prefixes = self.prefix_count > 0 || !self.prefixes.is_empty();
        if wants_prefixes && (counted_secondary || named_secondary) {
            return Err(exclusive("ipv4Prefixes", "secondaryPrivateIpAddressCount"));
        }
        if self.prefix_count > 0 && !self.prefixes.is_empty() {
            return Err(exclusive("ipv4Prefixes", "ipv4PrefixCount"));
        }
        if self.ipv6_address_count > 0 && !self.ipv6_addresses.is_empty() {
            return Err(exclusive("ipv6Addresses", "ipv6AddressCount"));
        }
        if self.ipv6_prefix_count > 0
            && (self.ipv6_address_count > 0 || !self.ipv6_addresses.is_empty())
        {
            return Err(exclusive("ipv6PrefixCount", "ipv6AddressCount"));
        }
        Ok(())
    }
}

impl World {
    pub(super) fn create_network_interface(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let wanted = CreateNetworkInterface::parse(request)?;
        if !self.subnets.contains_key(&wanted.subnet) {
            return Err(no_subnet(&wanted.subnet));
        }
        request.end_dry_run()?;
        let id = self.create_interface(&wanted, None, now)?;
        let interface = self.interfaces.get(&id).expect("it was made a line ago");
        Ok(Xml::fragment(|xml| {
            // EC2 answers `pending` here and never tells it again.
            xml.node("networkInterface", |xml| {
                write_interface(xml, self, interface, "pending");
            });
            xml.optional("clientToken", request.text("ClientToken"));
        }))
    }

    pub(super) fn delete_network_interface(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let id = EniId::parse(request.required("NetworkInterfaceId")?)?;
        let interface = self.known_interface(&id, now)?;
        request.end_dry_run()?;
        if interface.attachment.is_some() {
            return Err(invalid_value(format!(
                "Network interface '{id}' is currently in use."
            )));
        }
        self.delete_interface(&id, now);
        Ok(Xml::fragment(|xml| xml.leaf("return", true)))
    }

    /// Makes an interface; `mac` is given only when a world is built.
    ///
    /// # Errors
    /// EC2's refusal; nothing is taken then.
    pub fn create_interface(
        &mut self,
        wanted: &CreateNetworkInterface,
        mac: Option<String>,
        now: Timestamp,
    ) -> Result<EniId, ApiError> {
        let subnet = self
            .subnets
            .get(&wanted.subnet)
            .ok_or_else(|| no_subnet(&wanted.subnet))?;
        let (vpc, zone) = (subnet.vpc.clone(), subnet.zone.clone());
        let groups =
            self.check_groups(&wanted.groups, &vpc, &format!("subnet {}", wanted.subnet))?;
        check_new_tags(&Tags::new(), &wanted.tags)?;
        if self.interfaces.len() >= self.settings.interface_quota {
            return Err(api(
                "NetworkInterfaceLimitExceeded",
                "The maximum number of network interfaces has been reached.",
            ));
        }
        let mut interface = Interface {
            id: self.namer.eni(),
            mac: mac.unwrap_or_else(|| self.namer.mac()),
            subnet: wanted.subnet.clone(),
            vpc,
            zone,
            description: wanted.description.clone(),
            kind: wanted.kind.clone(),
            groups,
            addresses: Vec::new(),
            prefixes: Vec::new(),
            ipv6_addresses: Vec::new(),
            ipv6_prefixes: Vec::new(),
            public: BTreeMap::new(),
            source_dest_check: true,
            tags: merged(&wanted.tags),
            created: now,
            attachment: None,
        };
        let pool = &mut self
            .subnets
            .get_mut(&wanted.subnet)
            .expect("it was found above")
            .pool;
        if let Err(error) = take_addresses(pool, wanted, &mut interface) {
            give_back(pool, &interface);
            return Err(error);
        }
        let id = interface.id.clone();
        self.tell(
            now,
            What::EniCreated {
                eni: id.clone(),
                mac: interface.mac.clone(),
            },
        );
        self.interfaces.insert(now, id.clone(), interface);
        Ok(id)
    }

    /// The groups of an interface in `vpc`: those named, or the VPC's default group.
    pub(super) fn check_groups(
        &self,
        named: &[GroupId],
        vpc: &VpcId,
        whose: &str,
    ) -> Result<Vec<GroupId>, ApiError> {
        if named.is_empty() {
            let default = self
                .groups
                .values()
                .find(|group| group.vpc == *vpc && group.name == "default");
            return Ok(default.map(|group| group.id.clone()).into_iter().collect());
        }
        if named.len() > self.settings.groups_per_interface {
            return Err(api(
                "SecurityGroupsPerInterfaceLimitExceeded",
                "The maximum number of security groups per interface has been reached.",
            ));
        }
        for id in named {
            let group = self.groups.get(id).ok_or_else(|| no_group(id))?;
            if group.vpc != *vpc {
                return Err(api(
                    "InvalidParameter",
                    format!("Security group {id} and {whose} belong to different networks."),
                ));
            }
        }
        Ok(named.to_vec())
    }
}

/// Takes every address from the pool; on failure `interface` names those that were taken.
fn take_addresses(
    pool: &mut Pool,
    wanted: &CreateNetworkInterface,
    interface: &mut Interface,
) -> Result<(), ApiError> {
    if wanted.kind == "efa-only" {
        return Ok(());
    }
    // Named addresses first, so that none of them is handed out as "any".
    for address in wanted.primary.iter().chain(&wanted.secondary) {
        pool.take(*address)?;
        interface.addresses.push(*address);
    }
    if wanted.primary.is_none() {
        let primary = pool.take_any(1)?;
        interface.addresses.splice(0..0, primary);
    }
    interface
        .addresses
        .extend(pool.take_any(wanted.secondary_count)?);
    for prefix in &wanted.prefixes {
        pool.take_prefix(*prefix)?;
        interface.prefixes.push(*prefix);
    }
    interface
        .prefixes
        .extend(pool.take_any_prefixes(wanted.prefix_count)?);
    for address in &wanted.ipv6_addresses {
        pool.take_ipv6(*address)?;
        interface.ipv6_addresses.push(*address);
    }
    if wanted.ipv6_address_count > 0 {
        interface
            .ipv6_addresses
            .extend(pool.take_any_ipv6(wanted.ipv6_address_count)?);
    }
    if wanted.ipv6_prefix_count > 0 {
        interface
            .ipv6_prefixes
            .extend(pool.take_any_ipv6_prefixes(wanted.ipv6_prefix_count)?);
    }
    Ok(())
}

pub(super) fn exclusive(one: &str, other: &str) -> ApiError {
    invalid_combination(format!(
        "The parameter {one} cannot be used with the parameter {other}"
    ))
}
