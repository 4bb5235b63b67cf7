//! Reads a record: what the controller wrote, as what this node must do about it.
//!
//! Pure: a record goes in, a wish comes out.

pub mod dpdk;
pub mod metadata;
pub mod network;

use eniway_api::{
    ChannelPolicy, DataPath, Enforcement, EniId, InstanceId, MacAddress, MtuPolicy,
    NodeEniAttachment, NodeStatus, SteeringRule, XdpPolicy, mark::ANNOTATION_FORCE_RELEASE,
};
use kube::{ResourceExt, core::DynamicObject};

pub use self::{dpdk::Device, network::Network};
use crate::bpf::{GuardConfig, Mode, WantedIngress};

/// A record of this node.
#[derive(Clone, Debug)]
pub enum Record {
    Readable(Box<NodeEniAttachment>),
    /// A newer release wrote something that this one does not know.
    Unreadable(Box<Unreadable>),
}

/// What can be told of a record that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    pub name: String,
    pub uid: String,
    pub generation: Option<i64>,
    /// Its ENI, when at least that is where it always was.
    pub eni: Option<EniId>,
    pub status: Option<NodeStatus>,
    /// Present when it is being deleted: to take everything away, no more need be understood.
    pub release: Option<Wish>,
    pub error: String,
}

/// What is to be done about one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing yet: EC2 has not told the ENI's address.
    Wait,
    /// Make the interface what it should be.
    Provide(Desired),
    /// Take away all that was added.
    Release {
        eni: Option<EniId>,
        mac: Option<MacAddress>,
        /// Although a pod uses it.
        force: bool,
        /// What its node's network was asked for.
        network: Network,
    },
}

/// What the interface of one ENI should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    pub eni: EniId,
    pub mac: MacAddress,
    /// Absent: as the driver sets it.
    pub mtu: Option<u32>,
    /// What may be done to the MTU and the channels for native XDP.
    pub mtu_policy: MtuPolicy,
    pub channel_policy: ChannelPolicy,
    /// Where packets that arrive should be checked.
    pub ingress: WantedIngress,
    /// What they are checked against.
    pub config: GuardConfig,
    /// What becomes of those that pass, where it can work.
    pub steering: Vec<SteeringRule>,
    pub network: Network,
    /// Who drives its PCI function.
    pub device: Device,
}

impl Record {
    /// Decodes one object; never fails, because one odd record must not stop the others.
    #[must_use]
    pub fn decode(object: DynamicObject) -> Self {
        let name = object.name_any();
        let uid = object.uid().unwrap_or_default();
        let generation = object.metadata.generation;
        let at = |pointer: &str| object.data.pointer(pointer).cloned();
        let eni = at("/status/ec2/eniID").and_then(|value| value.as_str().map(EniId::from));
        let mac = at("/status/ec2/macAddress").and_then(|value| serde_json::from_value(value).ok());
        let status = at("/status/node").and_then(|value| serde_json::from_value(value).ok());
        let force = is_forced(&object);
        let release = object.metadata.deletion_timestamp.as_ref().map(|_| {
            let eni: Option<EniId> = eni.clone();
            Wish::Release {
                eni,
                mac,
                force,
                network: Network::default(),
            }
        });
        let readable = serde_json::to_value(object).and_then(serde_json::from_value);
        match readable {
            Ok(record) => Self::Readable(record),
            Err(error) => Self::Unreadable(Box::new(Unreadable {
                name,
                uid,
                generation,
                eni,
                status,
                release,
                error: error.to_string(),
            })),
        }
    }

    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Readable(record) => record.name_any(),
            Self::Unreadable(record) => record.name.clone(),
        }
    }

    #[must_use]
    pub fn uid(&self) -> String {
        match self {
            Self::Readable(record) => record.uid().unwrap_or_default(),
            Self::Unreadable(record) => record.uid.clone(),
        }
    }

    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        match self {
            Self::Readable(record) => record.metadata.generation,
            Self::Unreadable(record) => record.generation,
        }
    }

    /// The ENI, once EC2 has made it.
    #[must_use]
    pub fn eni(&self) -> Option<&EniId> {
        match self {
            Self::Readable(record) => record.status.as_ref()?.ec2.as_ref()?.eni_id.as_ref(),
            Self::Unreadable(record) => record.eni.as_ref(),
        }
    }

    /// What an agent last said about it.
    #[must_use]
    pub fn status(&self) -> Option<&NodeStatus> {
        match self {
            Self::Readable(record) => record.status.as_ref()?.node.as_ref(),
            Self::Unreadable(record) => record.status.as_ref(),
        }
    }

    /// Remembers what was written, before the watch tells.
    pub fn set_status(&mut self, status: NodeStatus) {
        match self {
            Self::Readable(record) => {
                record.status.get_or_insert_default().node = Some(status);
            }
            Self::Unreadable(record) => record.status = Some(status),
        }
    }

    /// Whether it is about another instance, which bore this node's name before or will bear it.
    #[must_use]
    pub fn is_of_other_instance(&self, instance: &InstanceId) -> bool {
        match self {
            Self::Readable(record) => record.spec.instance_id != *instance,
            Self::Unreadable(_) => false,
        }
    }
}

impl Wish {
    /// The ENI it is about, once there is one.
    #[must_use]
    pub fn eni(&self) -> Option<&EniId> {
        match self {
            Self::Wait => None,
            Self::Provide(desired) => Some(&desired.eni),
            Self::Release { eni, .. } => eni.as_ref(),
        }
    }

    /// The address by which its interface is found.
    #[must_use]
    pub fn mac(&self) -> Option<MacAddress> {
        match self {
            Self::Wait => None,
            Self::Provide(desired) => Some(desired.mac),
            Self::Release { mac, .. } => *mac,
        }
    }
}

impl Wish {
    /// What its node's network is, or was, asked for.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        match self {
            Self::Wait => None,
            Self::Provide(desired) => Some(&desired.network),
            Self::Release { network, .. } => Some(network),
        }
    }
}

/// What `record` asks of its node.
#[must_use]
pub fn wish(record: &NodeEniAttachment) -> Wish {
    let ec2 = record
        .status
        .as_ref()
        .and_then(|status| status.ec2.as_ref());
    let eni = ec2.and_then(|ec2| ec2.eni_id.clone());
    let mac = ec2.and_then(|ec2| ec2.mac_address);
    let wanted = record.spec.interface.as_ref();
    let network = ec2.map_or_else(Network::default, |ec2| network::network(wanted, ec2));
    if record.metadata.deletion_timestamp.is_some() {
        return Wish::Release {
            eni,
            mac,
            force: is_forced(record),
            network,
        };
    }
    let (Some(ec2), Some(eni), Some(mac)) = (ec2, eni, mac) else {
        return Wish::Wait;
    };
    let data_path = record.spec.data_path.as_ref();
    Wish::Provide(Desired {
        eni,
        mac,
        mtu: record.spec.mtu.filter(|mtu| *mtu > 0),
        mtu_policy: data_path
            .and_then(|path| path.mtu_policy)
            .unwrap_or_default(),
        channel_policy: data_path
            .and_then(|path| path.channel_policy)
            .unwrap_or_default(),
        ingress: ingress(data_path),
        config: GuardConfig {
            mac: mac.0,
            mode: mode(data_path),
            source_dest_check: record.spec.source_dest_check,
            addresses: ec2.addresses.iter().chain(&ec2.prefixes).copied().collect(),
            subnets: ec2.subnet_cidrs.clone(),
        },
        steering: data_path.map_or_else(Vec::new, |path| path.steering.clone()),
        network,
        device: dpdk::device(record.spec.dpdk.as_ref()),
    })
}

/// Whether the user wants the interface back although a pod uses it.
fn is_forced(record: &impl ResourceExt) -> bool {
    let force = record.annotations().get(ANNOTATION_FORCE_RELEASE);
    force.is_some_and(|value| value != "false")
}

/// Without a wish for a data path there is no XDP: the first XDP program resets an ENA device, which
/// an old manifest did not ask for.
fn ingress(data_path: Option<&DataPath>) -> WantedIngress {
    let Some(data_path) = data_path else {
        return WantedIngress::Tc;
    };
    match data_path.xdp.unwrap_or_default() {
        XdpPolicy::Auto => WantedIngress::XdpAuto,
        XdpPolicy::Native => WantedIngress::XdpNative,
        XdpPolicy::Generic => WantedIngress::XdpGeneric,
        XdpPolicy::Off => WantedIngress::Tc,
    }
}

/// Without a wish for a data path the check only counts.
fn mode(data_path: Option<&DataPath>) -> Mode {
    let Some(data_path) = data_path else {
        return Mode::Audit;
    };
    match data_path.enforcement.unwrap_or_default() {
        Enforcement::Enforce => Mode::Enforce,
        Enforcement::Audit => Mode::Audit,
        Enforcement::Off => Mode::Off,
    }
}

#[cfg(test)]
mod tests;
