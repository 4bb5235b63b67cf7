//! DescribeNetworkInterfaces: which interfaces, and how they are written.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::error::{ApiError, no_interface};
use crate::filter::{Filters, Values};
use crate::ids::{EniId, GroupId};
use crate::model::{Interface, private_dns_name};
use crate::page::page;
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

const FILTERS: &[&str] = &[
    "addresses.primary",
    "addresses.private-ip-address",
    "attachment.attach-time",
    "attachment.attachment-id",
    "attachment.delete-on-termination",
    "attachment.device-index",
    "attachment.instance-id",
    "attachment.instance-owner-id",
    "attachment.network-card-index",
    "attachment.status",
    "availability-zone",
    "description",
    "group-id",
    "group-name",
    "interface-type",
    "ipv6-addresses.ipv6-address",
    "mac-address",
    "network-interface-id",
    "operator.managed",
    "owner-id",
    "private-dns-name",
    "private-ip-address",
    "requester-managed",
    "source-dest-check",
    "status",
    "subnet-id",
    "vpc-id",
];

impl World {
    pub(super) fn describe_network_interfaces(
        &self,
        request: &Request,
    ) -> Result<String, ApiError> {
        let filters = Filters::parse(request, FILTERS)?;
        let ids = request
            .list("NetworkInterfaceId")
            .into_iter()
            .map(EniId::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let seen = self.interfaces.seen();
        let rows: Vec<Arc<Interface>> = if ids.is_empty() {
            seen.values().cloned().collect()
        } else {
            let mut rows = ids
                .iter()
                .map(|id| seen.get(id).cloned().ok_or_else(|| no_interface(id)))
                .collect::<Result<Vec<_>, _>>()?;
            rows.sort_by(|one, other| one.id.cmp(&other.id));
            rows.dedup_by(|one, other| one.id == other.id);
            rows
        };
        request.end_dry_run()?;
        let rows = rows
            .into_iter()
            .filter(|row| filters.accept(&row.tags, |name| self.values_of(row, name)))
            .collect();
        let page = page(
            request,
            "NetworkInterfaceId",
            1000,
            rows,
            |row: &Arc<Interface>| row.id.as_str(),
        )?;
        Ok(Xml::fragment(|xml| {
            xml.set("networkInterfaceSet", &page.rows, |xml, row| {
                write_interface(xml, self, row, row.status());
            });
            xml.optional("nextToken", page.next_token);
        }))
    }

    /// What an interface says under the name of a filter.
    fn values_of(&self, interface: &Interface, name: &str) -> Values {
        if let Some(name) = name.strip_prefix("attachment.") {
            let Some(attachment) = &interface.attachment else {
                return Vec::new();
            };
            return vec![match name {
                "attach-time" => attachment.attach_time.to_string(),
                "attachment-id" => attachment.id.to_string(),
                "delete-on-termination" => attachment.delete_on_termination.to_string(),
                "device-index" => attachment.slot.index.to_string(),
                "instance-id" => attachment.instance.to_string(),
                "instance-owner-id" => self.account.clone(),
                "network-card-index" => attachment.slot.card.to_string(),
                _ => attachment.state.to_string(),
            }];
        }
        let text = |value: &dyn ToString| vec![value.to_string()];
        match name {
            "addresses.primary" => interface
                .addresses
                .iter()
                .enumerate()
                .map(|(at, _)| (at == 0).to_string())
                .collect(),
            "addresses.private-ip-address" => interface
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
            "availability-zone" => text(&interface.zone),
            "description" => text(&interface.description),
            "group-id" => interface.groups.iter().map(ToString::to_string).collect(),
            "group-name" => interface
                .groups
                .iter()
                .filter_map(|id| self.groups.get(id))
                .map(|group| group.name.clone())
                .collect(),
            "interface-type" => text(&interface.kind),
            "ipv6-addresses.ipv6-address" => interface
                .ipv6_addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
            "mac-address" => text(&interface.mac),
            "network-interface-id" => text(&interface.id),
            "operator.managed" | "requester-managed" => text(&false),
            "owner-id" => text(&self.account),
            "private-dns-name" => interface
                .addresses
                .first()
                .map(|address| private_dns_name(*address))
                .into_iter()
                .collect(),
            "private-ip-address" => interface
                .addresses
                .first()
                .map(ToString::to_string)
                .into_iter()
                .collect(),
            "source-dest-check" => text(&interface.source_dest_check),
            "status" => text(&interface.status()),
            "subnet-id" => text(&interface.subnet),
            "vpc-id" => text(&interface.vpc),
            _ => Vec::new(),
        }
    }
}

/// The fields of a `NetworkInterface`.
pub(super) fn write_interface(xml: &mut Xml, world: &World, interface: &Interface, status: &str) {
    write_common(xml, world, interface, status);
    xml.leaf("availabilityZone", &interface.zone);
    xml.leaf("requesterManaged", false);
    xml.node("operator", |xml| xml.leaf("managed", false));
    if interface.attachment.is_some() {
        write_attachment(xml, world, interface);
    }
    xml.tags(&interface.tags);
}

/// The fields that an interface has also where an instance is described.
pub(super) fn write_common(xml: &mut Xml, world: &World, interface: &Interface, status: &str) {
    xml.leaf("networkInterfaceId", &interface.id);
    xml.leaf("subnetId", &interface.subnet);
    xml.leaf("vpcId", &interface.vpc);
    xml.leaf("description", &interface.description);
    xml.leaf("ownerId", &world.account);
    xml.leaf("status", status);
    xml.leaf("macAddress", &interface.mac);
    xml.leaf("sourceDestCheck", interface.source_dest_check);
    xml.leaf("interfaceType", &interface.kind);
    if let Some(primary) = interface.addresses.first() {
        xml.leaf("privateIpAddress", primary);
        xml.leaf("privateDnsName", private_dns_name(*primary));
        write_association(xml, world, interface, *primary);
    }
    write_groups(xml, world, &interface.groups);
    xml.set(
        "privateIpAddressesSet",
        interface.addresses.iter().enumerate(),
        |xml, (at, address)| {
            xml.leaf("privateIpAddress", address);
            xml.leaf("privateDnsName", private_dns_name(*address));
            xml.leaf("primary", at == 0);
            write_association(xml, world, interface, *address);
        },
    );
    xml.set(
        "ipv6AddressesSet",
        &interface.ipv6_addresses,
        |xml, address| xml.leaf("ipv6Address", address),
    );
    if !interface.prefixes.is_empty() {
        xml.set("ipv4PrefixSet", &interface.prefixes, |xml, prefix| {
            xml.leaf("ipv4Prefix", prefix);
        });
    }
    if !interface.ipv6_prefixes.is_empty() {
        xml.set("ipv6PrefixSet", &interface.ipv6_prefixes, |xml, prefix| {
            xml.leaf("ipv6Prefix", prefix);
        });
    }
}

/// The Elastic IP of one of its addresses.
fn write_association(xml: &mut Xml, world: &World, interface: &Interface, address: Ipv4Addr) {
    if let Some(association) = interface.public.get(&address) {
        xml.node("association", |xml| {
            xml.leaf("publicIp", association.public_ip);
            xml.leaf("ipOwnerId", &world.account);
            xml.leaf("allocationId", &association.allocation);
            xml.leaf("associationId", &association.id);
        });
    }
}

pub(super) fn write_attachment(xml: &mut Xml, world: &World, interface: &Interface) {
    let Some(attachment) = &interface.attachment else {
        return;
    };
    xml.node("attachment", |xml| {
        xml.leaf("attachmentId", &attachment.id);
        xml.leaf("instanceId", &attachment.instance);
        xml.leaf("instanceOwnerId", &world.account);
        xml.leaf("deviceIndex", attachment.slot.index);
        xml.leaf("networkCardIndex", attachment.slot.card);
        xml.leaf("status", attachment.state);
        xml.time("attachTime", attachment.attach_time);
        xml.leaf("deleteOnTermination", attachment.delete_on_termination);
        xml.optional("enaQueueCount", attachment.ena_queues);
    });
}

pub(super) fn write_groups(xml: &mut Xml, world: &World, groups: &[GroupId]) {
    xml.set("groupSet", groups, |xml, id| {
        xml.leaf("groupId", id);
        xml.optional("groupName", world.groups.get(id).map(|group| &group.name));
    });
}
