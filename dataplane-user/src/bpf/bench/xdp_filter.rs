//! xdp-filter of xdp-tools, as Debian has it: its objects are loaded as they are, and set to let the packet pass.
//!
//! The others of Debian's xdp-tools are no filters: xdp-bench and xdpdump attach tracing programs to what they run, and
//! xdp-trafficgen sends.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{
    EbpfLoader, Pod,
    maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};

use super::{ADDRESS, MAC, PORT, Run, XDP_PASS, frame, run};
use crate::bpf::{Error, object::Object, pins};

/// What xdp-filter compares with (xdp-tools, `xdp-filter/common_kern_user.h`).
const SOURCE: u64 = 1;
const DESTINATION: u64 = 2;
const UDP: u64 = 8;

/// A program of xdp-filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    pub(super) name: &'static str,
    /// The program, which its object is named for.
    pub(super) program: &'static str,
    /// In deny mode only what is listed passes.
    listed: Option<List>,
}

/// Which map has something of the packet in it.
#[derive(Clone, Copy, Debug)]
enum List {
    Address,
    Port,
    Mac,
}

/// The first one is what we compare with.
pub(super) const FILTERS: [Filter; 5] = [
    Filter {
        name: "xdp-filter, deny by IP",
        program: "xdpfilt_dny_ip",
        listed: Some(List::Address),
    },
    Filter {
        name: "xdp-filter, allow by IP",
        program: "xdpfilt_alw_ip",
        listed: None,
    },
    Filter {
        name: "xdp-filter, deny by MAC",
        program: "xdpfilt_dny_eth",
        listed: Some(List::Mac),
    },
    Filter {
        name: "xdp-filter, deny by UDP port",
        program: "xdpfilt_dny_udp",
        listed: Some(List::Port),
    },
    Filter {
        name: "xdp-filter, allow by MAC, IP and ports",
        program: "xdpfilt_alw_all",
        listed: None,
    },
];

impl Filter {
    /// Debian's xdp-tools puts its objects into the folder of its architecture.
    pub(super) fn object(self) -> Option<PathBuf> {
        fs::read_dir("/usr/lib")
            .ok()?
            .flatten()
            .map(|folder| folder.path().join(format!("bpf/{}.o", self.program)))
            .find(|path| path.exists())
    }

    /// Loads it. xdp-filter pins its maps, so it needs a folder for them, and one for each program: what one lists another
    /// would drop.
    pub(super) fn load(self, path: &Path, pins: &Path) -> Result<Run, Error> {
        let name = self.program;
        let folder = pins.join(name);
        pins::create(&folder)?;
        let ebpf = EbpfLoader::new()
            .default_map_pin_directory(&folder)
            .load_file(path)
            .map_err(|source| Error::Object {
                object: name,
                source: Box::new(source),
            })?;
        let mut object = Object::from(name, ebpf);
        // The program holds the map, which we are about to take and drop.
        object.xdp(name)?;
        match self.listed {
            Some(List::Address) => hash(&mut object, name, "filter_ipv4", ADDRESS)?,
            Some(List::Mac) => hash(&mut object, name, "filter_ethernet", MAC)?,
            Some(List::Port) => ports(&mut object, name)?,
            None => {}
        }
        let frame = frame(ADDRESS);
        Ok(Box::new(move || {
            run(object.xdp(name)?, name, &frame, XDP_PASS)
        }))
    }
}

/// Lists a source and destination.
fn hash<K: Pod>(
    object: &mut Object,
    owner: &str,
    map: &'static str,
    listed: K,
) -> Result<(), Error> {
    let failed = |source| failed(owner, map, source);
    let mut hash: PerCpuHashMap<_, K, u64> =
        PerCpuHashMap::try_from(object.map(map)?).map_err(failed)?;
    hash.insert(listed, on_each_cpu(SOURCE | DESTINATION)?, 0)
        .map_err(failed)
}

/// Lists the packet's destination port, in network order.
fn ports(object: &mut Object, owner: &str) -> Result<(), Error> {
    const MAP: &str = "filter_ports";
    let failed = |source| failed(owner, MAP, source);
    let mut ports: PerCpuArray<MapData, u64> =
        PerCpuArray::try_from(object.map(MAP)?).map_err(failed)?;
    ports
        .set(u32::from(PORT.to_be()), on_each_cpu(DESTINATION | UDP)?, 0)
        .map_err(failed)
}

fn on_each_cpu(value: u64) -> Result<PerCpuValues<u64>, Error> {
    let cpus = nr_cpus().map_err(|(_, error)| Error::Kernel(error.to_string()))?;
    PerCpuValues::try_from(vec![value; cpus]).map_err(|error| Error::Kernel(error.to_string()))
}

fn failed(owner: &str, map: &'static str, source: MapError) -> Error {
    Error::Map {
        attempt: "write",
        map,
        eni: owner.to_owned(),
        source: Box::new(source),
    }
}
