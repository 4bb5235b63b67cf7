//! Without Kubernetes: a file says what the interfaces of this instance should be, and the metadata service which there
//! are. Both become the records that a controller would have written, and go the same way.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use eniway_api::{
    Addressing, DataPath, DeviceIndex, Dpdk, Ec2State, Ec2Status, EniId, InstanceId, InterfaceWish,
    MacAddress, NodeEniAttachment, NodeEniAttachmentSpec, NodeEniAttachmentStatus, NodeStatus,
    Routing, RpFilter,
};
use futures::Stream;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use tracing::warn;

use crate::{
    apply::Chain,
    desired::Record,
    imds::{Imds, Interface, Metadata},
    kubernetes::Change,
    states::{self, States},
};

/// How often the metadata service is asked, which tells of no change by itself.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {path}", path = .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("understand {path}", path = .path.display())]
    Understand {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error(transparent)]
    State(#[from] states::Error),
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The first that fits an interface counts; one that none fits is left alone, and so is the primary one.
    #[serde(default)]
    pub interface: Vec<Wanted>,
}

/// What an interface should be. Of `eni`, `mac` and `deviceIndex` all that are there must fit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    pub eni: Option<EniId>,
    pub mac: Option<MacAddress>,
    pub device_index: Option<DeviceIndex>,
    /// An alternative name. Where none of the three is there, `-` and the device index are added, for several may fit.
    pub name: Option<String>,
    pub addressing: Option<Addressing>,
    pub routing: Option<Routing>,
    pub rp_filter: Option<RpFilter>,
    pub mtu: Option<u32>,
    #[serde(default = "on")]
    pub source_dest_check: bool,
    pub data_path: Option<DataPath>,
    /// Hands it to DPDK instead; `bind` says so.
    pub dpdk: Option<Dpdk>,
}

const fn on() -> bool {
    true
}

/// The ENIs that have been set up since the boot, with what their networks were asked for.
pub type Known = BTreeMap<EniId, InterfaceWish>;

/// The instance, as the agent sees it.
#[derive(Clone, Debug)]
pub struct Standalone {
    file: File,
    imds: Imds,
    states: States,
}

impl Standalone {
    /// Reads the file, once: a changed one is read by a restart, which loses no packet.
    pub fn open(path: &Path, imds: Imds, states: States) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let file = toml::from_str(&text).map_err(|source| Error::Understand {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self { file, imds, states })
    }

    /// Asks until the metadata service answers.
    pub async fn instance(&self) -> InstanceId {
        loop {
            match self.imds.metadata().await {
                Ok(metadata) => return metadata.instance,
                Err(error) => warn!(error = %Chain(&error), "Instance unknown"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The records, whenever they are others than before. While the service does not answer they stay.
    pub fn changes(&self) -> impl Stream<Item = Change> + use<> {
        let this = self.clone();
        let begin: Option<Metadata> = None;
        futures::stream::unfold((this, begin), |(this, mut before)| async move {
            loop {
                if before.is_some() {
                    tokio::time::sleep(LOOK).await;
                }
                match this.imds.metadata().await {
                    Ok(metadata) if before.as_ref() != Some(&metadata) => {
                        let known = this.known(&metadata);
                        if is_late(&metadata, &known) {
                            tokio::time::sleep(LOOK).await;
                            continue;
                        }
                        let records = records(&this.file, &metadata, &known);
                        let records = records.into_iter().map(Box::new).map(Record::Readable);
                        let change = Change::Replaced(records.collect());
                        before = Some(metadata);
                        return Some((change, (this, before)));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        warn!(error = %Chain(&error), "Metadata unknown, what was known stays");
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
        })
    }

    /// By the states. That of an ENI that is not there any more goes.
    fn known(&self, metadata: &Metadata) -> Known {
        let is_here = |eni: &EniId| metadata.interfaces.iter().any(|it| it.eni == *eni);
        let known = self.states.known().into_iter();
        let (here, gone): (Vec<_>, Vec<_>) = known.partition(|(eni, _)| is_here(eni));
        for (eni, _) in gone {
            let _is_told_again = self.states.remove(&eni);
        }
        here.into_iter().collect()
    }

    /// Writes what is there of an interface.
    pub fn write_status(&self, record: &Record, status: &NodeStatus) -> Result<(), Error> {
        Ok(self.states.write(record, status)?)
    }
}

/// What a controller would have written: a record for each interface that the file wants something of, and the end of one
/// for each that is `known`, of which it wants nothing any more.
///
/// Pure. The primary interface is left alone, and so is one of whose place the service does not know yet: it says 0.
#[must_use]
pub fn records(file: &File, metadata: &Metadata, known: &Known) -> Vec<NodeEniAttachment> {
    let ours = metadata.interfaces.iter();
    let ours = ours.filter(|it| it.mac != metadata.primary && it.device_index.0 != 0);
    let mut records: BTreeMap<&EniId, NodeEniAttachment> = BTreeMap::new();
    for interface in ours {
        let wanted = file.interface.iter().find(|wanted| wanted.fits(interface));
        let instance = &metadata.instance;
        match wanted {
            Some(wanted) => {
                records.insert(&interface.eni, record(wanted, interface, instance));
            }
            None => {
                let Some(asked) = known.get(&interface.eni) else {
                    continue;
                };
                let mut ended = record(&Wanted::default(), interface, instance);
                ended.spec.interface = Some(asked.clone());
                ended.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
                records.insert(&interface.eni, ended);
            }
        }
    }
    records.into_values().collect()
}

/// Whether the service says 0 of the place of an interface that is set up already: it does not know it yet, and what
/// it says is no reason to give the interface back.
fn is_late(metadata: &Metadata, known: &Known) -> bool {
    let mut others = metadata.interfaces.iter();
    others.any(|it| {
        it.mac != metadata.primary && it.device_index.0 == 0 && known.contains_key(&it.eni)
    })
}

impl Wanted {
    fn fits(&self, interface: &Interface) -> bool {
        self.eni.as_ref().is_none_or(|eni| *eni == interface.eni)
            && self.mac.is_none_or(|mac| mac == interface.mac)
            && self
                .device_index
                .is_none_or(|index| index == interface.device_index)
    }

    fn name_of(&self, interface: &Interface) -> Option<String> {
        let name = self.name.as_ref()?;
        let means_one = self.eni.is_some() || self.mac.is_some() || self.device_index.is_some();
        Some(match means_one {
            true => name.clone(),
            false => format!("{name}-{}", interface.device_index),
        })
    }
}

fn record(wanted: &Wanted, interface: &Interface, instance: &InstanceId) -> NodeEniAttachment {
    let spec = NodeEniAttachmentSpec {
        instance_id: instance.clone(),
        subnet_id: interface.subnet.clone(),
        source_dest_check: wanted.source_dest_check,
        mtu: wanted.mtu,
        data_path: wanted.data_path.clone(),
        dpdk: wanted.dpdk.clone(),
        interface: Some(InterfaceWish {
            name: wanted.name_of(interface),
            addressing: wanted.addressing,
            routing: wanted.routing,
            rp_filter: wanted.rp_filter,
        }),
        ..NodeEniAttachmentSpec::default()
    };
    let mut record = NodeEniAttachment::new(interface.eni.as_str(), spec);
    record.metadata.uid = Some(interface.eni.to_string());
    record.status = Some(NodeEniAttachmentStatus {
        ec2: Some(Ec2Status {
            state: Ec2State::Attached,
            eni_id: Some(interface.eni.clone()),
            mac_address: Some(interface.mac),
            device_index: Some(interface.device_index),
            network_card_index: Some(interface.network_card),
            subnet_cidrs: interface.subnets.clone(),
            addresses: interface.addresses.clone(),
            prefixes: interface.prefixes.clone(),
            ..Ec2Status::default()
        }),
        ..NodeEniAttachmentStatus::default()
    });
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[[interface]]
deviceIndex = 2
name = "fast"
addressing = "Host"
rpFilter = "Strict"
[interface.dataPath]
xdp = "Native"
enforcement = "Enforce"
steering = [{ match = { protocol = "UDP", destinationPorts = [2152] }, action = { type = "Drop" } }]

[[interface]]
"#;

    fn interface(eni: &str, last: u8, index: u8) -> Interface {
        Interface {
            mac: MacAddress([2, 0, 0, 0, 0, last]),
            eni: eni.into(),
            subnet: "subnet-1".into(),
            device_index: DeviceIndex(index),
            network_card: 0,
            addresses: vec!["10.0.1.7/32".parse().unwrap()],
            prefixes: Vec::new(),
            subnets: vec!["10.0.1.0/24".parse().unwrap()],
        }
    }

    #[test]
    fn the_first_wish_that_fits_counts_and_the_primary_interface_is_nobodys() {
        let file: File = toml::from_str(FILE).unwrap();
        let metadata = Metadata {
            instance: "i-1".into(),
            primary: MacAddress([2, 0, 0, 0, 0, 1]),
            interfaces: vec![
                interface("eni-1", 1, 0),
                interface("eni-3", 3, 1),
                interface("eni-2", 2, 2),
                // EC2 has attached it, and the service does not know where.
                interface("eni-4", 4, 0),
            ],
        };
        let records = records(&file, &metadata, &Known::new());
        let names: Vec<_> = records.iter().map(|it| it.metadata.name.clone()).collect();
        assert_eq!(names, [Some("eni-2".to_owned()), Some("eni-3".to_owned())]);
        let [fast, other] = records.as_slice() else {
            panic!("two")
        };
        let path = fast.spec.data_path.as_ref().unwrap();
        assert_eq!(path.steering.len(), 1);
        let wish = fast.spec.interface.as_ref().unwrap();
        assert_eq!(wish.addressing, Some(Addressing::Host));
        assert_eq!(wish.rp_filter, Some(RpFilter::Strict));
        assert_eq!(wish.name.as_deref(), Some("fast"));
        let any = Wanted {
            name: Some("any".to_owned()),
            ..Wanted::default()
        };
        let name = any.name_of(&metadata.interfaces[2]);
        assert_eq!(name.as_deref(), Some("any-2"));
        assert!(other.spec.data_path.is_none() && other.spec.source_dest_check);
        let ec2 = other.status.as_ref().unwrap().ec2.as_ref().unwrap();
        assert_eq!(ec2.mac_address, Some(MacAddress([2, 0, 0, 0, 0, 3])));
    }

    #[test]
    fn what_is_wanted_no_more_is_released_if_it_ever_was() {
        let metadata = Metadata {
            instance: "i-1".into(),
            primary: MacAddress([2, 0, 0, 0, 0, 1]),
            interfaces: vec![interface("eni-2", 2, 1), interface("eni-3", 3, 2)],
        };
        let asked = InterfaceWish {
            name: Some("fast".to_owned()),
            ..InterfaceWish::default()
        };
        let known = ["eni-3", "eni-9"].map(|eni| (EniId::from(eni), asked.clone()));
        let known = Known::from(known);
        let records = records(&File::default(), &metadata, &known);
        let [released] = records.as_slice() else {
            panic!("{records:?}")
        };
        assert_eq!(released.metadata.name.as_deref(), Some("eni-3"));
        assert!(released.metadata.deletion_timestamp.is_some());
        assert_eq!(released.spec.interface, Some(asked));
    }

    #[test]
    fn what_the_service_does_not_know_yet_is_no_reason_to_let_an_interface_go() {
        let metadata = |index| Metadata {
            instance: "i-1".into(),
            primary: MacAddress([2, 0, 0, 0, 0, 1]),
            interfaces: vec![interface("eni-1", 1, 0), interface("eni-2", 2, index)],
        };
        let known = Known::from([(EniId::from("eni-2"), InterfaceWish::default())]);
        assert!(is_late(&metadata(0), &known));
        assert!(!is_late(&metadata(1), &known));
        assert!(!is_late(&metadata(0), &Known::new()), "it was never set up");
    }

    #[test]
    fn a_word_that_means_nothing_is_refused_with_its_place() {
        let error = toml::from_str::<File>("[[interface]]\nadressing = \"Host\"\n").unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("line 2") && error.contains("adressing"),
            "{error}"
        );
    }
}
