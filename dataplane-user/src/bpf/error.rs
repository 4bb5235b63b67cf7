//! What can go wrong with BPF, by what was attempted.

use std::{io, net::IpAddr, path::PathBuf};

/// An attempt that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder for pins is somewhere else.
    #[error(
        "{path} is not in a BPF file system; mount one with `mount -t bpf bpf /sys/fs/bpf`",
        path = .path.display()
    )]
    NotBpffs {
        /// The folder.
        path: PathBuf,
    },
    /// An ENI whose name cannot be a pin's.
    #[error("{eni:?} cannot name a pin; it must be letters, digits and hyphens")]
    Name {
        /// The name.
        eni: String,
    },
    /// A folder or file of bpffs.
    #[error("{attempt} {path}", path = .path.display())]
    Pin {
        /// What was done to it.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The kernel's version.
    #[error("find out the kernel's version: {0}")]
    Kernel(String),
    /// An address that no host may have.
    #[error("{address} cannot be an ENI's address")]
    Address {
        /// The address.
        address: ipnet::IpNet,
    },
    /// An embedded object.
    #[error("load the object {object}; if it is empty, the agent was built with AYA_BUILD_SKIP")]
    Object {
        /// Which one.
        object: &'static str,
        /// Why it failed.
        #[source]
        source: Box<aya::EbpfError>,
    },
    /// An object without a program: the objects are of another build.
    #[error("find the program {program} in the object {object}")]
    NoProgram {
        /// Which program.
        program: String,
        /// Where.
        object: &'static str,
    },
    /// An object without a map: the objects are of another build.
    #[error("find the map {map} in the object {object}")]
    NoMap {
        /// Which map.
        map: &'static str,
        /// Where.
        object: &'static str,
    },
    /// An ENI that is not on this node, or not yet.
    #[error("find {eni}: no ENI of that ID is guarded on this node")]
    NotGuarded {
        /// Its ID.
        eni: String,
    },
    /// An address that another pod has.
    #[error("give a pod the address {address}: interface {interface} has it")]
    Taken {
        /// The address.
        address: IpAddr,
        /// The node's end of the other pod's veth.
        interface: u32,
    },
    /// What a steering rule needs cannot be put into its map.
    #[error("let steering rules use {what}")]
    Steering {
        /// The CPU or the interface.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<aya::maps::xdp::XdpMapError>,
    },
    /// A program that the kernel's verifier refuses.
    #[error("load the program {program}")]
    Program {
        /// Which one.
        program: String,
        /// Why it failed.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// A pinned map.
    #[error("{attempt} the map {map} of {eni}")]
    Map {
        /// What was done to it.
        attempt: &'static str,
        /// Which map.
        map: &'static str,
        /// Whose map.
        eni: String,
        /// Why it failed.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// Another process watches the ENI; each event has one reader.
    #[error("watch {eni}: another `eniway-agent monitor` does")]
    Watched {
        /// Whose packets.
        eni: String,
    },
    /// The clock by which events are told.
    #[error("read the time since the boot")]
    Clock(#[source] io::Error),
    /// More addresses than the map holds.
    #[error("the map {map} of {eni} is full: it holds {limit} addresses and prefixes", limit = eniway_abi::ADDRESSES)]
    MapFull {
        /// Which map.
        map: &'static str,
        /// Whose map.
        eni: String,
    },
    /// An attachment.
    #[error("{attempt} {program} on interface {ifindex}")]
    Attach {
        /// What was done.
        attempt: &'static str,
        /// Which program.
        program: &'static str,
        /// Where.
        ifindex: u32,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Someone else's XDP program.
    #[error(
        "interface {ifindex} runs an XDP program that is not ours, {name:?} (id {program_id}); \
         remove it with `ip link set dev … xdp off`, or set dataPath.xdp to Off"
    )]
    Foreign {
        /// Where.
        ifindex: u32,
        /// The kernel's number of the program.
        program_id: u32,
        /// Its name.
        name: String,
    },
    /// An interface.
    #[error("look at interface {ifindex}")]
    Interface {
        /// Which one.
        ifindex: u32,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A program run on a frame of ours.
    #[error("run {program} on a frame")]
    Run {
        /// Which one.
        program: String,
        /// Why it failed.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// A program that said something else of a frame of ours than it must.
    #[error("run {program} on a frame: it answered {answer}, and not {expected}")]
    Answer {
        /// Which one.
        program: String,
        /// What it must say, in its hook's numbers.
        expected: u32,
        /// What it said.
        answer: u32,
    },
    /// The programs tell of nothing.
    #[cfg(feature = "bpf-log")]
    #[error(
        "read what the programs of {eni} tell; the agent that loaded them must have the feature bpf-log too"
    )]
    Log {
        /// The ENI.
        eni: String,
        /// Why it failed.
        source: aya_log::Error,
    },
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

/// The kernel's error number somewhere among the causes.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && let Some(number) = error.raw_os_error()
        {
            return Some(number);
        }
        if let Some(aya::sys::SyscallError { io_error, .. }) = error.downcast_ref()
            && let Some(number) = io_error.raw_os_error()
        {
            return Some(number);
        }
        cause = error.source();
    }
    None
}
