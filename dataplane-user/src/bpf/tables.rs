//! Fills the maps of the steering rules, before any program sees them.

use aya::{
    EbpfLoader, Pod,
    maps::{
        Array, CpuMap, DevMapHash, LpmTrie, Map, MapData, MapError, MapInfo, PerCpuArray,
        lpm_trie::Key,
    },
    programs::loaded_programs,
};
use eniway_abi::{
    ACTIONS, CLASSES, CPU_CHOICES, CPUS, Counter, DEST_PORTS, DESTINATION4, DESTINATION6, DEVICES,
    EGRESS_XDP, HITS, PROTOCOLS, SOURCE_PORTS, SOURCE4, SOURCE6, STEERING,
    steering::{self as abi, PORT_ENTRIES},
};

use super::{Error, kernel::cpus as cpus_there, maps::failed, object::Object, steering::Tables};

/// Packets that may wait for a CPU: what the kernel's own tools take (samples/bpf/xdp_redirect_cpu).
const CPU_QUEUE: u32 = 2048;

/// What the errors call the owner of the maps.
const OWNER: &str = "the steering rules";

/// All values of what rules look at, for a loader keeps no copy.
static LOOKS: [u32; 64] = {
    let mut all = [0; 64];
    let mut looks = 0;
    while looks < 64 {
        all[looks as usize] = looks;
        looks += 1;
    }
    all
};
const _: () = assert!(abi::looks::DESTINATION_PORT << 1 == 64);

/// Makes the maps as large as the rules need, and tells the verifier what they look at.
pub(super) fn size(loader: &mut EbpfLoader<'_>, tables: &Tables) {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).max(1);
    let ports = |any: bool| if any { PORT_ENTRIES } else { 1 };
    loader
        .override_global(STEERING, &LOOKS[tables.looks as usize], true)
        .map_max_entries(SOURCE4, count(tables.source4.len()))
        .map_max_entries(SOURCE6, count(tables.source6.len()))
        .map_max_entries(DESTINATION4, count(tables.destination4.len()))
        .map_max_entries(DESTINATION6, count(tables.destination6.len()))
        .map_max_entries(SOURCE_PORTS, ports(!tables.source_ports.is_empty()))
        .map_max_entries(DEST_PORTS, ports(!tables.destination_ports.is_empty()))
        .map_max_entries(CLASSES, count(tables.classes.len()))
        .map_max_entries(ACTIONS, count(tables.actions.len()))
        .map_max_entries(HITS, count(tables.actions.len()))
        .map_max_entries(CPU_CHOICES, count(tables.cpus.len()))
        .map_max_entries(CPUS, cpus_there());
}

/// Fills them.
pub(super) fn fill(object: &mut Object, tables: &Tables) -> Result<(), Error> {
    trie(
        object,
        SOURCE4,
        tables.source4.iter().map(|(net, class)| {
            (
                Key::new(net.prefix_len().into(), net.network().octets()),
                *class,
            )
        }),
    )?;
    trie(
        object,
        SOURCE6,
        tables.source6.iter().map(|(net, class)| {
            (
                Key::new(net.prefix_len().into(), net.network().octets()),
                *class,
            )
        }),
    )?;
    trie(
        object,
        DESTINATION4,
        tables.destination4.iter().map(|(net, class)| {
            (
                Key::new(net.prefix_len().into(), net.network().octets()),
                *class,
            )
        }),
    )?;
    trie(
        object,
        DESTINATION6,
        tables.destination6.iter().map(|(net, class)| {
            (
                Key::new(net.prefix_len().into(), net.network().octets()),
                *class,
            )
        }),
    )?;
    let protocols = tables.protocols.iter();
    array(
        object,
        PROTOCOLS,
        protocols.map(|(number, class)| (u32::from(*number), *class)),
    )?;
    array(
        object,
        SOURCE_PORTS,
        tables.source_ports.iter().map(|(at, entry)| (*at, *entry)),
    )?;
    array(
        object,
        DEST_PORTS,
        tables
            .destination_ports
            .iter()
            .map(|(at, entry)| (*at, *entry)),
    )?;
    array(object, CLASSES, (0..).zip(tables.classes.iter().copied()))?;
    array(object, ACTIONS, (0..).zip(tables.actions.iter().copied()))?;
    array(object, CPU_CHOICES, (0..).zip(tables.cpus.iter().copied()))?;
    cpus(object, tables)
}

fn trie<K: Pod>(
    object: &mut Object,
    name: &'static str,
    entries: impl Iterator<Item = (Key<K>, u32)>,
) -> Result<(), Error> {
    let mut trie: LpmTrie<&mut MapData, K, u32> = of(object, name)?;
    for (key, class) in entries {
        trie.insert(&key, class, 0)
            .map_err(failed(OWNER, "write", name))?;
    }
    Ok(())
}

fn array<V: Pod>(
    object: &mut Object,
    name: &'static str,
    entries: impl Iterator<Item = (u32, V)>,
) -> Result<(), Error> {
    let mut array: Array<&mut MapData, V> = of(object, name)?;
    for (at, value) in entries {
        array
            .set(at, value, 0)
            .map_err(failed(OWNER, "write", name))?;
    }
    Ok(())
}

/// Each CPU once that a rule names.
fn cpus(object: &mut Object, tables: &Tables) -> Result<(), Error> {
    let mut map: CpuMap<&mut MapData> = of(object, CPUS)?;
    let cpus: std::collections::BTreeSet<_> = tables.cpus.iter().collect();
    for cpu in cpus {
        map.set(*cpu, CPU_QUEUE, None, 0)
            .map_err(|source| Error::Steering {
                what: format!("CPU {cpu}"),
                source: Box::new(source),
            })?;
    }
    Ok(())
}

/// Lets rules redirect to the interface with this index; `check` is the guard of what leaves there.
pub(super) fn device(
    object: &mut Object,
    interface: u32,
    check: Option<&mut Object>,
) -> Result<(), Error> {
    let program = match check {
        Some(check) => Some(
            check
                .xdp(EGRESS_XDP)?
                .fd()
                .map_err(|source| Error::Program {
                    program: EGRESS_XDP.to_owned(),
                    source: Box::new(source),
                })?,
        ),
        None => None,
    };
    let mut devices: DevMapHash<&mut MapData> = of(object, DEVICES)?;
    let inserted = devices.insert(interface, interface, program, 0);
    inserted.map_err(|source| Error::Steering {
        what: format!("the interface with index {interface}"),
        source: Box::new(source),
    })
}

/// A map of the object, as what it is.
pub(super) fn of<'a, T>(object: &'a mut Object, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = object.map_mut(name)?;
    T::try_from(map).map_err(failed(OWNER, "use", name))
}

/// Packets of each rule.
pub(super) fn hits(object: &mut Object) -> Result<Vec<u64>, Error> {
    let hits: PerCpuArray<&mut MapData, Counter> = of(object, HITS)?;
    let counters = counters(&hits, OWNER)?;
    Ok(counters.iter().map(|counter| counter.packets).collect())
}

/// The action and the counter of each rule of a program that runs.
pub(super) fn of_program(eni: &str, program_id: u32) -> Result<Vec<(abi::Action, Counter)>, Error> {
    let mut programs = loaded_programs().flatten();
    let program = programs.find(|program| program.id() == program_id);
    let maps = match program.map(|program| program.map_ids()) {
        Some(Ok(Some(maps))) => maps,
        _ => Vec::new(),
    };
    let (mut actions, mut hits) = (Vec::new(), Vec::new());
    for id in maps {
        let info = MapInfo::from_id(id).map_err(failed(eni, "find", HITS))?;
        let map = || MapData::from_id(id).and_then(Map::from_map_data);
        match info.name_as_str() {
            Some(ACTIONS) => {
                let map = map().and_then(Array::<MapData, abi::Action>::try_from);
                let map = map.map_err(failed(eni, "open", ACTIONS))?;
                let all: Result<_, _> = map.iter().collect();
                actions = all.map_err(failed(eni, "read", ACTIONS))?;
            }
            Some(HITS) => {
                let map = map().and_then(PerCpuArray::<MapData, Counter>::try_from);
                hits = counters(&map.map_err(failed(eni, "open", HITS))?, eni)?;
            }
            _ => {}
        }
    }
    Ok(std::iter::zip(actions, hits).collect())
}

fn counters<M: std::borrow::Borrow<MapData>>(
    hits: &PerCpuArray<M, Counter>,
    eni: &str,
) -> Result<Vec<Counter>, Error> {
    let rules = 0..hits.len();
    let sum = |rule| {
        let cpus = hits.get(&rule, 0).map_err(failed(eni, "read", HITS))?;
        Ok(cpus.iter().fold(Counter::default(), |sum, cpu| Counter {
            packets: sum.packets + cpu.packets,
            bytes: sum.bytes + cpu.bytes,
        }))
    };
    rules.map(sum).collect()
}
