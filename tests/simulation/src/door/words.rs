//! What is in the simulator, in the controller's words.

use std::net::IpAddr;

use eniway_api::MacAddress;
use eniway_ec2::{
    Association, Attachment, AttachmentState, Eni, Instance, InstanceState, NewEni, Occupied,
};
use ipnet::IpNet;

pub(super) fn cidrs(subnet: &ec2_sim::model::Subnet) -> Vec<IpNet> {
    let ipv6 = subnet.pool.ipv6_cidr().map(IpNet::from);
    [IpNet::from(subnet.pool.cidr())]
        .into_iter()
        .chain(ipv6)
        .collect()
}

/// What DescribeSubnets says of one subnet.
pub(super) fn free_addresses(xml: &str, subnet: &str) -> u32 {
    let item = xml
        .split("<item>")
        .find(|item| item.contains(&format!("<subnetId>{subnet}</subnetId>")));
    let count = item
        .and_then(|item| item.split("<availableIpAddressCount>").nth(1))
        .and_then(|rest| rest.split('<').next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

pub(super) fn instance(from: &ec2_sim::Instance) -> Instance {
    let gone = from.state == ec2_sim::InstanceState::Terminated;
    Instance {
        id: from.id.as_str().into(),
        vpc: (!gone).then(|| from.vpc.as_str().into()),
        zone: from.zone.clone(),
        state: match from.state {
            ec2_sim::InstanceState::Pending => InstanceState::Pending,
            ec2_sim::InstanceState::Running => InstanceState::Running,
            ec2_sim::InstanceState::Stopping => InstanceState::Stopping,
            ec2_sim::InstanceState::Stopped => InstanceState::Stopped,
            ec2_sim::InstanceState::ShuttingDown => InstanceState::ShuttingDown,
            ec2_sim::InstanceState::Terminated => InstanceState::Terminated,
        },
        instance_type: from.limits.name.to_owned(),
        interfaces: from
            .interfaces
            .iter()
            .map(|(slot, eni)| Occupied {
                eni: eni.as_str().into(),
                device_index: small(slot.index),
                network_card_index: small(slot.card),
            })
            .collect(),
    }
}

/// What was asked for, as it was when it was new.
pub(super) fn created(id: &str, new: &NewEni) -> Eni {
    Eni {
        id: id.into(),
        subnet: new.subnet.clone(),
        zone: String::new(),
        mac: MacAddress::default(),
        attachment: None,
        groups: new.groups.clone(),
        source_dest_check: true,
        description: new.description.clone(),
        addresses: new
            .primary
            .into_iter()
            .map(|one| IpAddr::from(one).into())
            .collect(),
        prefixes: Vec::new(),
        association: None,
        tags: new.tags.iter().collect(),
    }
}

pub(super) fn interface(from: &ec2_sim::Interface) -> Eni {
    let mut groups: Vec<_> = from.groups.iter().map(|id| id.as_str().into()).collect();
    groups.sort();
    Eni {
        id: from.id.as_str().into(),
        subnet: from.subnet.as_str().into(),
        zone: from.zone.clone(),
        mac: from.mac.parse().unwrap_or_default(),
        attachment: from.attachment.as_ref().map(|attachment| Attachment {
            id: attachment.id.as_str().into(),
            instance: attachment.instance.as_str().into(),
            device_index: small(attachment.slot.index),
            network_card_index: small(attachment.slot.card),
            state: match attachment.state {
                ec2_sim::AttachmentState::Attaching => AttachmentState::Attaching,
                ec2_sim::AttachmentState::Attached => AttachmentState::Attached,
                ec2_sim::AttachmentState::Detaching => AttachmentState::Detaching,
            },
            delete_on_termination: attachment.delete_on_termination,
            ena_queue_count: attachment
                .ena_queues
                .and_then(|count| u16::try_from(count).ok()),
        }),
        groups,
        source_dest_check: from.source_dest_check,
        description: from.description.clone(),
        addresses: from
            .addresses
            .iter()
            .map(|address| IpAddr::from(*address))
            .chain(from.ipv6_addresses.iter().map(|one| (*one).into()))
            .map(IpNet::from)
            .collect(),
        prefixes: from
            .prefixes
            .iter()
            .map(|prefix| IpNet::from(*prefix))
            .chain(from.ipv6_prefixes.iter().map(|one| (*one).into()))
            .collect(),
        association: from.addresses.first().and_then(|primary| {
            let association = from.public.get(primary)?;
            Some(Association {
                public_ip: association.public_ip,
                allocation: Some(association.allocation.as_str().into()),
                id: Some(association.id.as_str().into()),
            })
        }),
        tags: from.tags.iter().collect(),
    }
}

fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
