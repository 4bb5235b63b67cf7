//! The pods that share an ENI: who has which address, and the programs that carry their packets.
//!
//! What is pinned is all that is known of them:
//!
//! ```text
//! <root>/links/<eni>/pods             on the ENI: what arrives goes to pods; there while any pod is
//! <root>/links/<eni>/pod-<interface>  on the node's end of a pod's veth: checks what it sends, and sends it out
//! <root>/maps/v<LAYOUT>/<eni>/PODS    whose each address is
//! <root>/maps/v<LAYOUT>/<eni>/UPLINK  the ENI's interface
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use aya::{
    maps::{Array, HashMap, Map, MapData, MapError},
    programs::TcAttachType,
};
use eniway_abi::{FROM_POD, PODS, Pod, TO_POD, UPLINK, mapped};

use super::{
    Error, Kernel,
    maps::failed,
    object::Object,
    pins::{Pins, names},
    slot::{Place, Slot},
};

/// A pod's place on an ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInterface {
    /// Index of the node's end of its veth.
    pub interface: u32,
    /// MAC address of the pod's end.
    pub mac: [u8; 6],
    /// MAC address of the node's end.
    pub node_mac: [u8; 6],
    /// Addresses of the ENI that are the pod's.
    pub addresses: Vec<IpAddr>,
}

/// The pods of one ENI.
pub(super) struct Pods<'a> {
    pins: &'a Pins,
    eni: &'a str,
    kernel: Kernel,
}

type Addresses = HashMap<MapData, [u8; 16], Pod>;

const POD: &str = "pod-";

impl<'a> Pods<'a> {
    pub(super) const fn new(pins: &'a Pins, eni: &'a str, kernel: Kernel) -> Self {
        Self { pins, eni, kernel }
    }

    /// Every pod, by its interface; none where the ENI has no maps. One whose addition was cut short has a program and
    /// no address.
    pub(super) fn all(&self) -> Result<Vec<PodInterface>, Error> {
        let Some(map) = self.addresses()? else {
            return Ok(Vec::new());
        };
        let mut pods: BTreeMap<u32, PodInterface> = BTreeMap::new();
        for entry in &map {
            let (address, pod) = entry.map_err(self.failed("read", PODS))?;
            let pod = pods.entry(pod.interface).or_insert(PodInterface {
                interface: pod.interface,
                mac: pod.mac,
                node_mac: pod.node_mac,
                addresses: Vec::new(),
            });
            pod.addresses.push(Ipv6Addr::from(address).to_canonical());
        }
        for interface in self.attached()? {
            pods.entry(interface).or_insert(PodInterface {
                interface,
                mac: [0; 6],
                node_mac: [0; 6],
                addresses: Vec::new(),
            });
        }
        for pod in pods.values_mut() {
            pod.addresses.sort_unstable();
        }
        Ok(pods.into_values().collect())
    }

    /// Refuses an address that another pod has.
    pub(super) fn check(&self, pod: &PodInterface) -> Result<(), Error> {
        for other in self.all()? {
            if other.interface == pod.interface {
                continue;
            }
            let taken = |address: &&IpAddr| other.addresses.contains(address);
            if let Some(&address) = pod.addresses.iter().find(taken) {
                let interface = other.interface;
                return Err(Error::Taken { address, interface });
            }
        }
        Ok(())
    }

    /// The check of what the pod sends comes first, and what arrives for it last.
    pub(super) fn add(
        &self,
        object: &mut Object,
        uplink: u32,
        pod: &PodInterface,
    ) -> Result<(), Error> {
        self.set_uplink(uplink)?;
        let end = self.of_pod(pod.interface);
        end.repair()?;
        end.attach_tc(object, pod.interface, self.kernel)?;
        if let Some(mut map) = self.addresses()? {
            let value = Pod {
                interface: pod.interface,
                mac: pod.mac,
                node_mac: pod.node_mac,
            };
            for address in &pod.addresses {
                map.insert(key(*address), value, 0)
                    .map_err(self.failed("write", PODS))?;
            }
        }
        let slot = self.of_eni();
        slot.repair()?;
        slot.attach_tc(object, uplink, self.kernel)
    }

    /// Takes the pods over that an agent with another layout knew: they live on, and only the maps tell of them. A layout
    /// in which an entry is of another size needs words of its own here.
    pub(super) fn inherit(&self) -> Result<(), Error> {
        let Some(mut map) = self.addresses()? else {
            return Ok(());
        };
        for folder in self.pins.other_layouts(self.eni)? {
            let path = folder.join(PODS);
            let old = MapData::from_pin(path).and_then(Map::from_map_data);
            let Ok(old) = old.and_then(Addresses::try_from) else {
                continue;
            };
            for entry in &old {
                let (address, pod) = entry.map_err(self.failed("read", PODS))?;
                map.insert(address, pod, 0)
                    .map_err(self.failed("write", PODS))?;
            }
        }
        Ok(())
    }

    /// Gives the pods that are there the programs of this object, on the interface that the ENI has now.
    pub(super) fn attach(&self, object: &mut Object, uplink: u32) -> Result<(), Error> {
        self.set_uplink(uplink)?;
        let pods = self.all()?;
        if pods.is_empty() {
            return Ok(());
        }
        for pod in pods {
            let end = self.of_pod(pod.interface);
            end.repair()?;
            // A veth that is gone is taken for what it is at the next look.
            match end.attach_tc(object, pod.interface, self.kernel) {
                Err(Error::Interface { .. }) => {}
                result => result?,
            }
        }
        let slot = self.of_eni();
        slot.repair()?;
        slot.attach_tc(object, uplink, self.kernel)
    }

    /// What arrives goes to it no more; then its programs go, and with the last pod the ENI's.
    pub(super) fn remove(&self, interface: u32) -> Result<(), Error> {
        if let Some(mut map) = self.addresses()? {
            let entries: Vec<_> = map
                .iter()
                .collect::<Result<_, _>>()
                .map_err(self.failed("read", PODS))?;
            for (address, pod) in entries {
                if pod.interface == interface {
                    map.remove(&address).map_err(self.failed("write", PODS))?;
                }
            }
        }
        self.of_pod(interface).detach()?;
        if self.all()?.is_empty() {
            self.of_eni().detach()?;
        }
        Ok(())
    }

    /// Takes every program away.
    pub(super) fn detach(&self) -> Result<(), Error> {
        self.of_eni().detach()?;
        let mut interfaces = self.attached()?.into_iter();
        interfaces.try_for_each(|interface| self.of_pod(interface).detach())
    }

    /// The interfaces at which a program of a pod is pinned, as a link or for a filter.
    fn attached(&self) -> Result<BTreeSet<u32>, Error> {
        let pins = names(&self.pins.links(self.eni))?.into_iter();
        let numbers = pins.filter_map(|pin| {
            let number = pin.strip_prefix(POD)?.split('-').next()?;
            number.parse().ok()
        });
        Ok(numbers.collect())
    }

    fn of_eni(&self) -> Slot {
        self.slot("pods".to_owned(), Place::Last, TO_POD)
    }

    fn of_pod(&self, interface: u32) -> Slot {
        self.slot(format!("{POD}{interface}"), Place::First, FROM_POD)
    }

    fn slot(&self, name: String, place: Place, program: &'static str) -> Slot {
        Slot {
            folder: self.pins.links(self.eni),
            name,
            direction: TcAttachType::Ingress,
            place,
            program,
        }
    }

    fn set_uplink(&self, uplink: u32) -> Result<(), Error> {
        let map = self.open(UPLINK)?;
        let map = map.map(Array::<MapData, u32>::try_from).transpose();
        let Some(mut map) = map.map_err(self.failed("use", UPLINK))? else {
            return Ok(());
        };
        map.set(0, uplink, 0).map_err(self.failed("write", UPLINK))
    }

    fn addresses(&self) -> Result<Option<Addresses>, Error> {
        let map = self.open(PODS)?;
        let map = map.map(HashMap::try_from).transpose();
        map.map_err(self.failed("use", PODS))
    }

    /// `None`: an agent that knew no pods made the maps, or nobody did yet.
    fn open(&self, name: &'static str) -> Result<Option<Map>, Error> {
        let path = self.pins.maps(self.eni).join(name);
        if !path.exists() {
            return Ok(None);
        }
        let map = MapData::from_pin(path).and_then(Map::from_map_data);
        map.map(Some).map_err(self.failed("open", name))
    }

    fn failed(&self, attempt: &'static str, map: &'static str) -> impl Fn(MapError) -> Error {
        failed(self.eni, attempt, map)
    }
}

fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}
