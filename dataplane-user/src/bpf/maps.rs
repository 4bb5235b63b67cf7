//! The pinned maps of one ENI: fills settings and addresses, reads counters.

use std::{collections::BTreeSet, path::PathBuf};

use aya::maps::{Array, LpmTrie, Map, MapData, MapError, PerCpuArray, lpm_trie::Key};
use eniway_abi::{AddressValue, CONFIG, COUNTERS, COUNTS, Config, Counter, LOCAL4, LOCAL6};
use ipnet::{Ipv4Net, Ipv6Net};

use super::{Error, addresses::Settings, error::errno, pins::Pins};

/// The maps of one ENI.
#[derive(Debug)]
pub(super) struct Maps {
    eni: String,
    folder: PathBuf,
}

impl Maps {
    /// Those that are pinned for the ENI.
    pub(super) fn open(pins: &Pins, eni: &str) -> Result<Self, Error> {
        Ok(Self {
            eni: eni.to_owned(),
            folder: pins.maps(eni),
        })
    }

    /// Makes the maps hold the settings and nothing else.
    ///
    /// New addresses come first, then the settings that rely on them, and last what is old goes: a
    /// packet that is right before and after is never dropped in between.
    pub(super) fn fill(&self, settings: &Settings) -> Result<(), Error> {
        let mut trie4: LpmTrie<_, [u8; 4], AddressValue> = self.trie(LOCAL4)?;
        let mut trie6: LpmTrie<_, [u8; 16], AddressValue> = self.trie(LOCAL6)?;
        let wanted4: BTreeSet<_> = settings.local4.iter().map(prefix4).collect();
        let wanted6: BTreeSet<_> = settings.local6.iter().map(prefix6).collect();
        let stale4 = self.insert(LOCAL4, &mut trie4, &wanted4)?;
        let stale6 = self.insert(LOCAL6, &mut trie6, &wanted6)?;
        self.set(settings.config)?;
        self.remove(LOCAL4, &mut trie4, stale4)?;
        self.remove(LOCAL6, &mut trie6, stale6)
    }

    /// The counters, summed over the CPUs, in the order of their index.
    pub(super) fn counters(&self) -> Result<Vec<Counter>, Error> {
        let counts: PerCpuArray<_, Counter> =
            PerCpuArray::try_from(self.map(COUNTS)?).map_err(self.failed("open", COUNTS))?;
        (0..COUNTERS)
            .map(|index| {
                let cpus = counts.get(&index, 0).map_err(self.failed("read", COUNTS))?;
                Ok(cpus.iter().fold(Counter::default(), |sum, cpu| Counter {
                    packets: sum.packets + cpu.packets,
                    bytes: sum.bytes + cpu.bytes,
                }))
            })
            .collect()
    }

    fn set(&self, config: Config) -> Result<(), Error> {
        let mut array: Array<_, Config> =
            Array::try_from(self.map(CONFIG)?).map_err(self.failed("open", CONFIG))?;
        array
            .set(0, config, 0)
            .map_err(self.failed("write", CONFIG))
    }

    /// Adds what is missing; gives what is there and not wanted.
    fn insert<const N: usize>(
        &self,
        name: &'static str,
        trie: &mut LpmTrie<MapData, [u8; N], AddressValue>,
        wanted: &BTreeSet<(u32, [u8; N])>,
    ) -> Result<Vec<(u32, [u8; N])>, Error> {
        let there: BTreeSet<(u32, [u8; N])> = trie
            .keys()
            .map(|key| key.map(|key| (key.prefix_len(), key.data())))
            .collect::<Result<_, _>>()
            .map_err(self.failed("read", name))?;
        for &(length, address) in wanted.difference(&there) {
            trie.insert(&Key::new(length, address), AddressValue { present: 1 }, 0)
                .map_err(|error| {
                    if errno(&error) == Some(libc::ENOSPC) {
                        Error::MapFull {
                            map: name,
                            eni: self.eni.clone(),
                        }
                    } else {
                        self.failed("write", name)(error)
                    }
                })?;
        }
        Ok(there.difference(wanted).copied().collect())
    }

    fn remove<const N: usize>(
        &self,
        name: &'static str,
        trie: &mut LpmTrie<MapData, [u8; N], AddressValue>,
        stale: Vec<(u32, [u8; N])>,
    ) -> Result<(), Error> {
        for (length, address) in stale {
            trie.remove(&Key::new(length, address))
                .map_err(self.failed("write", name))?;
        }
        Ok(())
    }

    fn trie<const N: usize>(
        &self,
        name: &'static str,
    ) -> Result<LpmTrie<MapData, [u8; N], AddressValue>, Error> {
        LpmTrie::try_from(self.map(name)?).map_err(self.failed("open", name))
    }

    fn map(&self, name: &'static str) -> Result<Map, Error> {
        MapData::from_pin(self.folder.join(name))
            .and_then(Map::from_map_data)
            .map_err(self.failed("open", name))
    }

    fn failed(&self, attempt: &'static str, map: &'static str) -> impl Fn(MapError) -> Error {
        let eni = self.eni.clone();
        move |source| Error::Map {
            attempt,
            map,
            eni: eni.clone(),
            source: Box::new(source),
        }
    }
}

fn prefix4(net: &Ipv4Net) -> (u32, [u8; 4]) {
    (u32::from(net.prefix_len()), net.network().octets())
}

fn prefix6(net: &Ipv6Net) -> (u32, [u8; 16]) {
    (u32::from(net.prefix_len()), net.network().octets())
}
