//! The embedded objects: loads one with the maps of an ENI, and shows each to the verifier.

use std::fmt;

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::Map,
    programs::{Program, ProgramError, ProgramInfo, SchedClassifier, Xdp},
};

use super::{
    Error,
    pins::Pins,
    steering::Tables,
    tables::{self, size},
};

static PLAIN: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dataplane"));
static FRAGS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dataplane-frags"));

const PLAIN_NAME: &str = "dataplane";
const FRAGS_NAME: &str = "dataplane-frags";

/// Those that outlive the agent. The tables of the steering rules belong to the programs that were loaded with
/// them, and go with them.
const PINNED: [&str; 10] = [
    eniway_abi::CONFIG,
    eniway_abi::LOCAL4,
    eniway_abi::LOCAL6,
    eniway_abi::COUNTS,
    eniway_abi::EVENTS,
    eniway_abi::WATCHER,
    eniway_abi::SAMPLER,
    eniway_abi::SOCKETS,
    eniway_abi::PODS,
    eniway_abi::UPLINK,
];

/// Gives the embedded objects: name and ELF.
#[must_use]
pub fn objects() -> [(&'static str, &'static [u8]); 2] {
    [(PLAIN_NAME, PLAIN), (FRAGS_NAME, FRAGS)]
}

/// A program that the kernel's verifier has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The object it is in.
    pub object: &'static str,
    /// Its name.
    pub program: String,
    /// Instructions the verifier walked through; `None` before kernel 5.16.
    pub instructions: Option<u32>,
    /// Bytes of machine code; 0 without a JIT.
    pub jited: u32,
}

/// Loads every program of every object, with steering rules that look at everything, and drops it again.
pub fn verify() -> Result<Vec<Verified>, Error> {
    let mut verified = Vec::new();
    for (name, elf) in objects() {
        let mut loader = EbpfLoader::new();
        loader.override_global(eniway_abi::STEERING, &u32::MAX, true);
        let mut object = Object::parse(name, elf, &mut loader)?;
        let programs: Vec<String> = object
            .ebpf
            .programs()
            .map(|(name, _)| name.to_owned())
            .collect();
        for program in programs {
            let info = object.load_any(&program)?;
            verified.push(Verified {
                object: name,
                instructions: info.verified_instruction_count(),
                jited: info.size_jitted(),
                program,
            });
        }
    }
    Ok(verified)
}

/// An object in the kernel: its maps exist, its programs are loaded one by one.
pub(super) struct Object {
    name: &'static str,
    pub(super) ebpf: Ebpf,
}

/// Loads objects, one after the other.
///
/// aya reads the kernel's own types (BTF) for each loader, in 15 ms and 19 MB, though no program of ours asks for
/// them. So there is one loader, which forgets them.
#[derive(Debug)]
pub(super) struct Loader(EbpfLoader<'static>);

impl Loader {
    pub(super) fn new() -> Self {
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        Self(loader)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.name).finish()
    }
}

impl Object {
    /// Loads the object on the ENI's pinned maps, and makes those that are missing.
    pub(super) fn load(
        Loader(loader): &mut Loader,
        frags: bool,
        pins: &Pins,
        eni: &str,
        steering: &Tables,
    ) -> Result<Self, Error> {
        let folder = pins.maps(eni);
        for map in PINNED {
            loader.map_pin_path(map, folder.join(map));
        }
        let [plain, fragmented] = objects();
        let (name, elf) = if frags { fragmented } else { plain };
        size(loader, steering);
        let mut object = Self::parse(name, elf, loader)?;
        tables::fill(&mut object, steering)?;
        Ok(object)
    }

    /// Loads the object on maps that nobody has, with its programs and without steering rules. `loader` must know of no
    /// pins.
    pub(super) fn spare(Loader(loader): &mut Loader, frags: bool) -> Result<Self, Error> {
        let [plain, fragmented] = objects();
        let (name, elf) = if frags { fragmented } else { plain };
        let none = Tables::default();
        size(loader, &none);
        let mut object = Self::parse(name, elf, loader)?;
        tables::fill(&mut object, &none)?;
        object.xdp(eniway_abi::INGRESS_XDP)?;
        object.tc(eniway_abi::EGRESS)?;
        Ok(object)
    }

    /// Makes a spare one's maps those of an ENI that has none.
    pub(super) fn pin(&mut self, pins: &Pins, eni: &str) -> Result<(), Error> {
        let folder = pins.maps(eni);
        for name in PINNED {
            let path = folder.join(name);
            let pinned = self.map_mut(name)?.pin(&path);
            pinned.map_err(|source| Error::Pin {
                attempt: "pin a map at",
                path,
                source: std::io::Error::other(source),
            })?;
        }
        Ok(())
    }

    /// Loads an object as the loader is set.
    pub(super) fn parse(
        name: &'static str,
        elf: &[u8],
        loader: &mut EbpfLoader<'_>,
    ) -> Result<Self, Error> {
        let ebpf = loader.load(elf).map_err(|source| Error::Object {
            object: name,
            source: Box::new(source),
        })?;
        Ok(Self { name, ebpf })
    }

    /// One that someone else's loader settings have loaded.
    pub(super) fn from(name: &'static str, ebpf: Ebpf) -> Self {
        Self { name, ebpf }
    }

    /// A map, by its name.
    pub(super) fn map(&mut self, name: &'static str) -> Result<Map, Error> {
        self.ebpf.take_map(name).ok_or(Error::NoMap {
            map: name,
            object: self.name,
        })
    }

    /// A map, by its name, which stays the object's.
    pub(super) fn map_mut(&mut self, name: &'static str) -> Result<&mut Map, Error> {
        let object = self.name;
        let missing = Error::NoMap { map: name, object };
        self.ebpf.map_mut(name).ok_or(missing)
    }

    /// Loads an XDP program.
    pub(super) fn xdp(&mut self, name: &str) -> Result<&mut Xdp, Error> {
        let program: &mut Xdp = self.program(name)?;
        load(name, program.load())?;
        Ok(program)
    }

    /// Loads a TC program.
    pub(super) fn tc(&mut self, name: &str) -> Result<&mut SchedClassifier, Error> {
        let program: &mut SchedClassifier = self.program(name)?;
        load(name, program.load())?;
        Ok(program)
    }

    fn load_any(&mut self, name: &str) -> Result<ProgramInfo, Error> {
        let info = if matches!(self.ebpf.program(name), Some(Program::Xdp(_))) {
            self.xdp(name)?.info()
        } else {
            self.tc(name)?.info()
        };
        info.map_err(program_error(name))
    }

    fn program<'a, P>(&'a mut self, name: &str) -> Result<&'a mut P, Error>
    where
        &'a mut P: TryFrom<&'a mut Program>,
    {
        let missing = Error::NoProgram {
            program: name.to_owned(),
            object: self.name,
        };
        self.ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or(missing)
    }
}

/// A program that is loaded already is what we want.
fn load(name: &str, result: Result<(), ProgramError>) -> Result<(), Error> {
    match result {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        result => result.map_err(program_error(name)),
    }
}

fn program_error(name: &str) -> impl Fn(ProgramError) -> Error {
    move |source| Error::Program {
        program: name.to_owned(),
        source: Box::new(source),
    }
}
