//! What happened in a world, for those who must follow it: the lab plugs its cables by these.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AttachmentId, EniId, InstanceId};
use crate::model::{Attachment, InstanceState, Interface};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 without gaps.
    pub sequence: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    EniCreated {
        eni: EniId,
        mac: String,
    },
    Attaching(Plug),
    Attached(Plug),
    Detaching(Plug),
    Detached(Plug),
    EniDeleted {
        eni: EniId,
        mac: String,
    },
    /// An instance that is launched tells `pending` as both.
    InstanceState {
        instance: InstanceId,
        state: InstanceState,
        previous: InstanceState,
    },
    AddressesChanged(Addresses),
    AttributeChanged {
        eni: EniId,
        mac: String,
        attribute: Attribute,
    },
}

/// All that is needed to plug a NIC into an instance, or to pull it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plug {
    pub instance: InstanceId,
    pub eni: EniId,
    pub mac: String,
    pub attachment: AttachmentId,
    pub device_index: u32,
    pub network_card: u32,
}

impl Plug {
    pub(crate) fn of(interface: &Interface, attachment: &Attachment) -> Self {
        Self {
            instance: attachment.instance.clone(),
            eni: interface.id.clone(),
            mac: interface.mac.clone(),
            attachment: attachment.id.clone(),
            device_index: attachment.slot.index,
            network_card: attachment.slot.card,
        }
    }
}

/// All addresses that an interface has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    pub eni: EniId,
    pub mac: String,
    pub ipv4: Vec<Ipv4Addr>,
    pub ipv4_prefixes: Vec<Ipv4Net>,
    pub ipv6: Vec<Ipv6Addr>,
    pub ipv6_prefixes: Vec<Ipv6Net>,
}

impl Addresses {
    pub(crate) fn of(interface: &Interface) -> Self {
        Self {
            eni: interface.id.clone(),
            mac: interface.mac.clone(),
            ipv4: interface.addresses.clone(),
            ipv4_prefixes: interface.prefixes.clone(),
            ipv6: interface.ipv6_addresses.clone(),
            ipv6_prefixes: interface.ipv6_prefixes.clone(),
        }
    }
}

/// An attribute with its new value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", content = "value", rename_all = "kebab-case")]
pub enum Attribute {
    SourceDestCheck(bool),
    DeleteOnTermination(bool),
    Description(String),
    Groups(Vec<crate::ids::GroupId>),
}
