//! Assigns and unassigns addresses and prefixes of an interface.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use jiff::Timestamp;

use super::attach::check_address_limits;
use super::create::exclusive;
use crate::error::{ApiError, api, invalid_value};
use crate::event::{Addresses, What};
use crate::ids::EniId;
use crate::lifecycle::give_back;
use crate::model::Interface;
use crate::pool::Pool;
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

/// What to add to an interface.
#[derive(Default)]
struct Wanted {
    addresses: Vec<Ipv4Addr>,
    address_count: usize,
    prefixes: Vec<Ipv4Net>,
    prefix_count: usize,
    ipv6_addresses: Vec<Ipv6Addr>,
    ipv6_address_count: usize,
    ipv6_prefix_count: usize,
}

impl World {
    pub(super) fn assign_private_ip_addresses(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let wanted = Wanted {
            addresses: request.values("PrivateIpAddress")?,
            address_count: request
                .value("SecondaryPrivateIpAddressCount")?
                .unwrap_or(0),
            prefixes: request.values("Ipv4Prefix")?,
            prefix_count: request.value("Ipv4PrefixCount")?.unwrap_or(0),
            ..Wanted::default()
        };
        let named = !wanted.addresses.is_empty();
        let prefixes = wanted.prefix_count > 0 || !wanted.prefixes.is_empty();
        if named && wanted.address_count > 0 {
            return Err(exclusive(
                "privateIpAddresses",
                "secondaryPrivateIpAddressCount",
            ));
        }
        if prefixes && (named || wanted.address_count > 0) {
            return Err(exclusive("ipv4Prefixes", "secondaryPrivateIpAddressCount"));
        }
        if !prefixes && !named && wanted.address_count == 0 {
            return Err(crate::error::missing("SecondaryPrivateIpAddressCount"));
        }
        let (id, added) = self.assign(request, &wanted, now)?;
        Ok(Xml::fragment(|xml| {
            xml.leaf("networkInterfaceId", &id);
            xml.set(
                "assignedPrivateIpAddressesSet",
                &added.addresses,
                |xml, address| xml.leaf("privateIpAddress", address),
            );
            xml.set("assignedIpv4PrefixSet", &added.prefixes, |xml, prefix| {
                xml.leaf("ipv4Prefix", prefix);
            });
        }))
    }

    pub(super) fn assign_ipv6_addresses(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let wanted = Wanted {
            ipv6_addresses: request.values("Ipv6Addresses")?,
            ipv6_address_count: request.value("Ipv6AddressCount")?.unwrap_or(0),
            ipv6_prefix_count: request.value("Ipv6PrefixCount")?.unwrap_or(0),
            ..Wanted::default()
        };
        let (id, added) = self.assign(request, &wanted, now)?;
        Ok(Xml::fragment(|xml| {
            xml.leaf("networkInterfaceId", &id);
            xml.set(
                "assignedIpv6Addresses",
                &added.ipv6_addresses,
                Xml::leaf_text,
            );
            xml.set(
                "assignedIpv6PrefixSet",
                &added.ipv6_prefixes,
                Xml::leaf_text,
            );
        }))
    }

    /// Takes all that is wanted, or nothing, and tells what was added.
    fn assign(
        &mut self,
        request: &Request,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<(EniId, Interface), ApiError> {
        let id = EniId::parse(request.required("NetworkInterfaceId")?)?;
        let interface = self.known_interface(&id, now)?.clone();
        request.end_dry_run()?;
        let mut added = Interface {
            addresses: Vec::new(),
            prefixes: Vec::new(),
            ipv6_addresses: Vec::new(),
            ipv6_prefixes: Vec::new(),
            ..interface.clone()
        };
        let mut after = interface.clone();
        let instance = interface
            .attachment
            .as_ref()
            .and_then(|attachment| self.instances.get(&attachment.instance));
        let pool = &mut self
            .subnets
            .get_mut(&interface.subnet)
            .expect("an interface lies in a subnet")
            .pool;
        let result = take(pool, wanted, &mut added, &interface.addresses).and_then(|()| {
            after.addresses.extend(&added.addresses);
            after.prefixes.extend(&added.prefixes);
            after.ipv6_addresses.extend(&added.ipv6_addresses);
            after.ipv6_prefixes.extend(&added.ipv6_prefixes);
            instance.map_or(Ok(()), |instance| check_address_limits(&after, instance))
        });
        if let Err(error) = result {
            give_back(pool, &added);
            return Err(error);
        }
        self.tell(now, What::AddressesChanged(Addresses::of(&after)));
        self.interfaces.insert(now, id.clone(), after);
        Ok((id, added))
    }

    pub(super) fn unassign_private_ip_addresses(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let gone = Wanted {
            addresses: request.values("PrivateIpAddress")?,
            prefixes: request.values("Ipv4Prefix")?,
            ..Wanted::default()
        };
        self.unassign(request, &gone, &[], now)?;
        Ok(Xml::fragment(|xml| xml.leaf("return", true)))
    }

    pub(super) fn unassign_ipv6_addresses(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let gone = Wanted {
            ipv6_addresses: request.values("Ipv6Addresses")?,
            ..Wanted::default()
        };
        let prefixes: Vec<Ipv6Net> = request.values("Ipv6Prefix")?;
        let id = self.unassign(request, &gone, &prefixes, now)?;
        Ok(Xml::fragment(|xml| {
            xml.leaf("networkInterfaceId", &id);
            xml.set(
                "unassignedIpv6Addresses",
                &gone.ipv6_addresses,
                Xml::leaf_text,
            );
            xml.set("unassignedIpv6PrefixSet", &prefixes, |xml, prefix| {
                xml.leaf_text(prefix);
            });
        }))
    }

    fn unassign(
        &mut self,
        request: &Request,
        gone: &Wanted,
        ipv6_prefixes: &[Ipv6Net],
        now: Timestamp,
    ) -> Result<EniId, ApiError> {
        let id = EniId::parse(request.required("NetworkInterfaceId")?)?;
        let interface = self.known_interface(&id, now)?;
        request.end_dry_run()?;
        if interface
            .addresses
            .first()
            .is_some_and(|primary| gone.addresses.contains(primary))
        {
            return Err(invalid_value(
                "The primary private IP address of a network interface cannot be unassigned.",
            ));
        }
        let stranger = gone
            .addresses
            .iter()
            .find(|address| !interface.addresses.contains(address))
            .map(ToString::to_string);
        let stranger = stranger.or_else(|| first_stranger(&gone.prefixes, &interface.prefixes));
        let stranger =
            stranger.or_else(|| first_stranger(&gone.ipv6_addresses, &interface.ipv6_addresses));
        if let Some(stranger) =
            stranger.or_else(|| first_stranger(ipv6_prefixes, &interface.ipv6_prefixes))
        {
            return Err(invalid_value(format!(
                "Some of [{stranger}] are not assigned to interface {id}"
            )));
        }
        let mut removed = interface.clone();
        removed
            .addresses
            .retain(|address| gone.addresses.contains(address));
        removed
            .prefixes
            .retain(|prefix| gone.prefixes.contains(prefix));
        removed
            .ipv6_addresses
            .retain(|address| gone.ipv6_addresses.contains(address));
        removed
            .ipv6_prefixes
            .retain(|prefix| ipv6_prefixes.contains(prefix));
        let mut after = interface.clone();
        after
            .addresses
            .retain(|address| !gone.addresses.contains(address));
        after
            .prefixes
            .retain(|prefix| !gone.prefixes.contains(prefix));
        after
            .ipv6_addresses
            .retain(|address| !gone.ipv6_addresses.contains(address));
        after
            .ipv6_prefixes
            .retain(|prefix| !ipv6_prefixes.contains(prefix));
        let subnet = self
            .subnets
            .get_mut(&after.subnet)
            .expect("an interface lies in a subnet");
        give_back(&mut subnet.pool, &removed);
        for address in &gone.addresses {
            if let Some(association) = after.public.remove(address) {
                self.part(&association.allocation, now);
            }
        }
        self.tell(now, What::AddressesChanged(Addresses::of(&after)));
        self.interfaces.insert(now, id.clone(), after);
        Ok(id)
    }
}

/// Takes what is wanted; on failure `added` names what was taken.
fn take(
    pool: &mut Pool,
    wanted: &Wanted,
    added: &mut Interface,
    own: &[Ipv4Addr],
) -> Result<(), ApiError> {
    for address in &wanted.addresses {
        // EC2 agrees when the interface has the address already.
        if !own.contains(address) {
            pool.take(*address).map_err(already_assigned)?;
            added.addresses.push(*address);
        }
    }
    added.addresses.extend(pool.take_any(wanted.address_count)?);
    for prefix in &wanted.prefixes {
        pool.take_prefix(*prefix).map_err(already_assigned)?;
        added.prefixes.push(*prefix);
    }
    added
        .prefixes
        .extend(pool.take_any_prefixes(wanted.prefix_count)?);
    for address in &wanted.ipv6_addresses {
        pool.take_ipv6(*address)?;
        added.ipv6_addresses.push(*address);
    }
    if wanted.ipv6_address_count > 0 {
        added
            .ipv6_addresses
            .extend(pool.take_any_ipv6(wanted.ipv6_address_count)?);
    }
    if wanted.ipv6_prefix_count > 0 {
        added
            .ipv6_prefixes
            .extend(pool.take_any_ipv6_prefixes(wanted.ipv6_prefix_count)?);
    }
    Ok(())
}

/// An address of somebody else has another code here than when an interface is made.
fn already_assigned(error: ApiError) -> ApiError {
    if error.code == "InvalidIPAddress.InUse" {
        api(
            "Resource.AlreadyAssigned",
            "The specified address is assigned to another network interface, and reassignment is not allowed.",
        )
    } else {
        error
    }
}

fn first_stranger<T: PartialEq + ToString>(gone: &[T], own: &[T]) -> Option<String> {
    gone.iter()
        .find(|each| !own.contains(each))
        .map(ToString::to_string)
}
