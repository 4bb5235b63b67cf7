//! The pinned maps of one ENI: fills settings and addresses, reads counters.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{Array, LpmTrie, Map, MapData, MapError, PerCpuArray, lpm_trie::Key};
use eniway_abi::{
    AddressValue, CONFIG, COUNTERS, COUNTS, Config, Counter, LOCAL4, LOCAL6, SOCKETS,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Error, addresses::Settings, error::errno, object::Object, pins::Pins};

/// Length and address.
type Prefix<const N: usize> = (u32, [u8; N]);

/// The maps of one ENI.
pub(super) struct Maps {
    eni: String,
    config: Array<MapData, Config>,
    local4: LpmTrie<MapData, [u8; 4], AddressValue>,
    local6: LpmTrie<MapData, [u8; 16], AddressValue>,
    counts: PerCpuArray<MapData, Counter>,
}

impl Maps {
    /// Those that are pinned for the ENI.
    pub(super) fn open(pins: &Pins, eni: &str) -> Result<Self, Error> {
        let folder = pins.maps(eni);
        Self::new(eni, |map| {
            MapData::from_pin(folder.join(map))
                .and_then(Map::from_map_data)
                .map_err(failed(eni, "open", map))
        })
    }

    /// The map of sockets, for whoever may have it.
    pub(super) fn sockets(pins: &Pins, eni: &str) -> Result<OwnedFd, Error> {
        let map = MapData::from_pin(pins.maps(eni).join(SOCKETS));
        let map = map.map_err(failed(eni, "open", SOCKETS))?;
        let fd = map.fd().as_fd().try_clone_to_owned();
        fd.map_err(|source| failed(eni, "share", SOCKETS)(source.into()))
    }

    /// Those of an object whose maps nobody else has.
    pub(super) fn take(object: &mut Object) -> Result<Self, Error> {
        Self::new("a trial", |map| object.map(map))
    }

    fn new(
        eni: &str,
        mut map: impl FnMut(&'static str) -> Result<Map, Error>,
    ) -> Result<Self, Error> {
        Ok(Self {
            config: Array::try_from(map(CONFIG)?).map_err(failed(eni, "use", CONFIG))?,
            local4: LpmTrie::try_from(map(LOCAL4)?).map_err(failed(eni, "use", LOCAL4))?,
            local6: LpmTrie::try_from(map(LOCAL6)?).map_err(failed(eni, "use", LOCAL6))?,
            counts: PerCpuArray::try_from(map(COUNTS)?).map_err(failed(eni, "use", COUNTS))?,
            eni: eni.to_owned(),
        })
    }

    /// Makes the maps hold the settings and nothing else.
    ///
    /// New addresses come first, then the settings that rely on them, and last what is old goes: a
    /// packet that is right before and after is never dropped in between.
    pub(super) fn fill(&mut self, settings: &Settings) -> Result<(), Error> {
        let Self {
            eni,
            config,
            local4,
            local6,
            ..
        } = self;
        let wanted4 = settings.local4.iter().map(prefix4).collect();
        let wanted6 = settings.local6.iter().map(prefix6).collect();
        let stale4 = insert(eni, LOCAL4, local4, &wanted4)?;
        let stale6 = insert(eni, LOCAL6, local6, &wanted6)?;
        config
            .set(0, settings.config, 0)
            .map_err(failed(eni, "write", CONFIG))?;
        remove(eni, LOCAL4, local4, &stale4)?;
        remove(eni, LOCAL6, local6, &stale6)
    }

    pub(super) fn config(&self) -> Result<Config, Error> {
        let config = self.config.get(&0, 0);
        config.map_err(failed(&self.eni, "read", CONFIG))
    }

    pub(super) fn addresses(&self) -> Result<Vec<IpNet>, Error> {
        let mut nets = Vec::new();
        for key in self.local4.keys() {
            let key = key.map_err(failed(&self.eni, "read", LOCAL4))?;
            nets.extend(net(key.data().into(), key.prefix_len()));
        }
        for key in self.local6.keys() {
            let key = key.map_err(failed(&self.eni, "read", LOCAL6))?;
            nets.extend(net(key.data().into(), key.prefix_len()));
        }
        nets.sort();
        Ok(nets)
    }

    /// The counters, summed over the CPUs, in the order of their index.
    pub(super) fn counters(&self) -> Result<Vec<Counter>, Error> {
        (0..COUNTERS)
            .map(|index| {
                let cpus = self
                    .counts
                    .get(&index, 0)
                    .map_err(failed(&self.eni, "read", COUNTS))?;
                Ok(cpus.iter().fold(Counter::default(), |sum, cpu| Counter {
                    packets: sum.packets + cpu.packets,
                    bytes: sum.bytes + cpu.bytes,
                }))
            })
            .collect()
    }
}

/// Adds what is missing; gives what is there and not wanted.
fn insert<const N: usize>(
    eni: &str,
    name: &'static str,
    trie: &mut LpmTrie<MapData, [u8; N], AddressValue>,
    wanted: &BTreeSet<Prefix<N>>,
) -> Result<Vec<Prefix<N>>, Error> {
    let there: BTreeSet<Prefix<N>> = trie
        .keys()
        .map(|key| key.map(|key| (key.prefix_len(), key.data())))
        .collect::<Result<_, _>>()
        .map_err(failed(eni, "read", name))?;
    for &(length, address) in wanted.difference(&there) {
        trie.insert(&Key::new(length, address), AddressValue { present: 1 }, 0)
            .map_err(|error| {
                if errno(&error) == Some(libc::ENOSPC) {
                    Error::MapFull {
                        map: name,
                        eni: eni.to_owned(),
                    }
                } else {
                    failed(eni, "write", name)(error)
                }
            })?;
    }
    Ok(there.difference(wanted).copied().collect())
}

fn remove<const N: usize>(
    eni: &str,
    name: &'static str,
    trie: &mut LpmTrie<MapData, [u8; N], AddressValue>,
    stale: &[Prefix<N>],
) -> Result<(), Error> {
    for &(length, address) in stale {
        trie.remove(&Key::new(length, address))
            .map_err(failed(eni, "write", name))?;
    }
    Ok(())
}

pub(super) fn failed(
    eni: &str,
    attempt: &'static str,
    map: &'static str,
) -> impl Fn(MapError) -> Error {
    let eni = eni.to_owned();
    move |source| Error::Map {
        attempt,
        map,
        eni: eni.clone(),
        source: Box::new(source),
    }
}

/// `None` cannot happen: the kernel keeps no key longer than its address.
fn net(address: IpAddr, length: u32) -> Option<IpNet> {
    IpNet::new(address, u8::try_from(length).ok()?).ok()
}

fn prefix4(net: &Ipv4Net) -> (u32, [u8; 4]) {
    (u32::from(net.prefix_len()), net.network().octets())
}

fn prefix6(net: &Ipv6Net) -> (u32, [u8; 16]) {
    (u32::from(net.prefix_len()), net.network().octets())
}
