//! The client's types, in which everything is optional, to ours, in which little is.

use aws_sdk_ec2::types::{self, FlexibleEnaQueuesSupport, NetworkCardInfo};
use eniway_api::{EniId, MacAddress};
use ipnet::IpNet;

use super::missing;
use crate::{
    Association, Attachment, AttachmentState, Call, EnaQueues, Eni, Error, Group, Instance,
    InstanceState, InstanceType, Occupied, Subnet,
};

pub(super) fn instance(call: Call, from: &types::Instance) -> Result<Instance, Error> {
    let state = from.state().and_then(|state| state.name());
    Ok(Instance {
        id: from
            .instance_id()
            .ok_or(missing(call, "instanceId"))?
            .into(),
        vpc: from.vpc_id().filter(|id| !id.is_empty()).map(Into::into),
        zone: from
            .placement()
            .and_then(|placement| placement.availability_zone())
            .unwrap_or_default()
            .to_owned(),
        state: match state.ok_or(missing(call, "instanceState"))?.as_str() {
            "pending" => InstanceState::Pending,
            "running" => InstanceState::Running,
            "stopping" => InstanceState::Stopping,
            "stopped" => InstanceState::Stopped,
            "shutting-down" => InstanceState::ShuttingDown,
            "terminated" => InstanceState::Terminated,
            _ => return Err(missing(call, "instanceState that we know")),
        },
        instance_type: from
            .instance_type()
            .map(|name| name.as_str().to_owned())
            .unwrap_or_default(),
        interfaces: from
            .network_interfaces()
            .iter()
            .filter_map(occupied)
            .collect(),
    })
}

fn occupied(from: &types::InstanceNetworkInterface) -> Option<Occupied> {
    let attachment = from.attachment()?;
    Some(Occupied {
        eni: from.network_interface_id()?.into(),
        device_index: small(attachment.device_index()),
        network_card_index: small(attachment.network_card_index()),
    })
}

pub(super) fn eni(call: Call, from: &types::NetworkInterface) -> Result<Eni, Error> {
    let id: EniId = from
        .network_interface_id()
        .ok_or(missing(call, "networkInterfaceId"))?
        .into();
    let mac: MacAddress = from
        .mac_address()
        .and_then(|text| text.parse().ok())
        .ok_or(missing(call, "macAddress"))?;
    let mut addresses: Vec<_> = from
        .private_ip_addresses()
        .iter()
        .filter_map(|address| {
            let net = single(address.private_ip_address()?)?;
            Some((!address.primary().unwrap_or(false), net))
        })
        .collect();
    addresses.sort_by_key(|(secondary, _)| *secondary);
    let v6 = from
        .ipv6_addresses()
        .iter()
        .filter_map(|address| single(address.ipv6_address()?));
    let v4_prefixes = from.ipv4_prefixes().iter().filter_map(|p| p.ipv4_prefix());
    let v6_prefixes = from.ipv6_prefixes().iter().filter_map(|p| p.ipv6_prefix());
    let mut groups: Vec<_> = from
        .groups()
        .iter()
        .filter_map(|group| group.group_id().map(Into::into))
        .collect();
    groups.sort();
    Ok(Eni {
        id,
        subnet: from.subnet_id().ok_or(missing(call, "subnetId"))?.into(),
        zone: from.availability_zone().unwrap_or_default().to_owned(),
        mac,
        attachment: from.attachment().and_then(attachment),
        groups,
        source_dest_check: from.source_dest_check().unwrap_or(true),
        description: from.description().unwrap_or_default().to_owned(),
        addresses: addresses
            .into_iter()
            .map(|(_, net)| net)
            .chain(v6)
            .collect(),
        prefixes: v4_prefixes
            .chain(v6_prefixes)
            .filter_map(|text| text.parse().ok())
            .collect(),
        association: from.association().and_then(association),
        tags: from.tag_set().iter().filter_map(tag).collect(),
    })
}

/// The interface's own association is that of its primary address.
fn association(from: &types::NetworkInterfaceAssociation) -> Option<Association> {
    Some(Association {
        public_ip: from.public_ip()?.parse().ok()?,
        allocation: from.allocation_id().map(Into::into),
        id: from.association_id().map(Into::into),
    })
}

/// `None` for what is detached, and for what a service of AWS attached to no instance.
fn attachment(from: &types::NetworkInterfaceAttachment) -> Option<Attachment> {
    let state = match from.status()?.as_str() {
        "attaching" => AttachmentState::Attaching,
        "attached" => AttachmentState::Attached,
        "detaching" => AttachmentState::Detaching,
        _ => return None,
    };
    Some(Attachment {
        id: from.attachment_id()?.into(),
        instance: from.instance_id()?.into(),
        device_index: small(from.device_index()),
        network_card_index: small(from.network_card_index()),
        state,
        delete_on_termination: from.delete_on_termination().unwrap_or(false),
        ena_queue_count: from
            .ena_queue_count()
            .and_then(|count| u16::try_from(count).ok()),
    })
}

pub(super) fn subnet(call: Call, from: &types::Subnet) -> Result<Subnet, Error> {
    let v6 = from
        .ipv6_cidr_block_association_set()
        .iter()
        .filter_map(|block| block.ipv6_cidr_block());
    Ok(Subnet {
        id: from.subnet_id().ok_or(missing(call, "subnetId"))?.into(),
        vpc: from.vpc_id().ok_or(missing(call, "vpcId"))?.into(),
        zone: from.availability_zone().unwrap_or_default().to_owned(),
        cidrs: from
            .cidr_block()
            .into_iter()
            .chain(v6)
            .filter_map(|text| text.parse().ok())
            .collect(),
        free_addresses: from
            .available_ip_address_count()
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
        tags: from.tags().iter().filter_map(tag).collect(),
    })
}

pub(super) fn group(call: Call, from: &types::SecurityGroup) -> Result<Group, Error> {
    Ok(Group {
        id: from.group_id().ok_or(missing(call, "groupId"))?.into(),
        name: from.group_name().unwrap_or_default().to_owned(),
        tags: from.tags().iter().filter_map(tag).collect(),
    })
}

pub(super) fn instance_type(
    call: Call,
    from: &types::InstanceTypeInfo,
) -> Result<InstanceType, Error> {
    let network = from.network_info().ok_or(missing(call, "networkInfo"))?;
    let count = |count: Option<i32>| count.and_then(|count| u16::try_from(count).ok());
    let interfaces = count(network.maximum_network_interfaces())
        .ok_or(missing(call, "maximumNetworkInterfaces"))?;
    let mut cards: Vec<_> = network
        .network_cards()
        .iter()
        .map(|card| {
            let most = count(card.maximum_network_interfaces()).unwrap_or(0);
            (card.network_card_index().unwrap_or(0), most)
        })
        .collect();
    cards.sort_unstable();
    let mut cards: Vec<_> = cards.into_iter().map(|(_, most)| most).collect();
    if cards.is_empty() {
        cards.push(interfaces);
    }
    Ok(InstanceType {
        name: from
            .instance_type()
            .map(|name| name.as_str().to_owned())
            .ok_or(missing(call, "instanceType"))?,
        interfaces,
        cards,
        // What EC2 does not tell is no limit of ours; EC2 judges it then.
        ipv4_addresses: count(network.ipv4_addresses_per_interface()).unwrap_or(u16::MAX),
        ipv6_addresses: count(network.ipv6_addresses_per_interface()).unwrap_or(u16::MAX),
        ena_queues: ena_queues(network),
    })
}

/// What one interface may have on the card that allows the most; EC2 judges the sum.
fn ena_queues(network: &types::NetworkInfo) -> EnaQueues {
    match network
        .flexible_ena_queues_support()
        .map(FlexibleEnaQueuesSupport::as_str)
    {
        Some("supported") => {
            let cards = network.network_cards().iter();
            let most = cards.filter_map(NetworkCardInfo::maximum_ena_queue_count_per_interface);
            let most = most.max().and_then(|most| u16::try_from(most).ok());
            EnaQueues::Flexible(most.unwrap_or(u16::MAX))
        }
        Some("unsupported") => EnaQueues::Fixed,
        Some(_) | None => EnaQueues::Unknown,
    }
}

pub(super) fn tag(from: &types::Tag) -> Option<(String, String)> {
    Some((
        from.key()?.to_owned(),
        from.value().unwrap_or_default().to_owned(),
    ))
}

/// Addresses and prefixes, an address as a prefix of its own.
pub(super) fn nets(texts: impl Iterator<Item = impl AsRef<str>>) -> Vec<IpNet> {
    let parsed = texts.filter_map(|text| {
        let text = text.as_ref();
        single(text).or_else(|| text.parse().ok())
    });
    parsed.collect()
}

fn single(text: &str) -> Option<IpNet> {
    text.parse::<std::net::IpAddr>().ok().map(IpNet::from)
}

fn small(index: Option<i32>) -> u8 {
    index
        .and_then(|index| u8::try_from(index).ok())
        .unwrap_or(0)
}
