//! What the BPF programs and the agent say to each other: map names, keys, values and counters.
//!
//! Addresses are byte arrays in network order, so there is no byte order to get wrong. Every struct
//! is `repr(C)` without padding and has its size asserted; a change here needs a new
//! [`LAYOUT_VERSION`], because maps outlive the agent that made them.
#![no_std]
#![warn(missing_docs)]

mod config;
mod counter;
mod event;
mod pod;
mod reason;
pub mod steering;

pub use config::{AddressValue, Config, Cover4, Cover6, flags, mode};
pub use counter::{COUNTERS, Counter, Direction, Outcome, counter_index};
pub use event::{EVENTS_BYTES, Event, HEAD, Sampler, Watcher};
pub use pod::{POD_ADDRESSES, Pod, mapped};
pub use reason::Reason;

/// Version of everything in this crate; part of the path at which maps are pinned.
pub const LAYOUT_VERSION: u32 = 2;

/// Name of the array of one [`Config`].
pub const CONFIG: &str = "CONFIG";
/// Name of the trie of the ENI's IPv4 addresses and prefixes.
pub const LOCAL4: &str = "LOCAL4";
/// Name of the trie of the ENI's IPv6 addresses and prefixes.
pub const LOCAL6: &str = "LOCAL6";
/// Name of the per-CPU array of [`COUNTERS`] × [`Counter`].
pub const COUNTS: &str = "COUNTS";

/// Name of the ring of [`Event`]s.
pub const EVENTS: &str = "EVENTS";
/// Name of the array of one [`Watcher`].
pub const WATCHER: &str = "WATCHER";
/// Name of the per-CPU array of one [`Sampler`].
pub const SAMPLER: &str = "SAMPLER";

/// Name of the map of the addresses of pods, to a [`Pod`] each.
pub const PODS: &str = "PODS";
/// Name of the array of one: the index of the ENI's interface.
pub const UPLINK: &str = "UPLINK";

/// Name of the constant that says what the steering rules look at; see [`steering::looks`].
pub const STEERING: &str = "STEERING";
/// Name of the trie of sources of IPv4, to their classes.
pub const SOURCE4: &str = "SOURCE4";
/// As [`SOURCE4`], of IPv6.
pub const SOURCE6: &str = "SOURCE6";
/// Name of the trie of destinations of IPv4, to their classes.
pub const DESTINATION4: &str = "DESTINATION4";
/// As [`DESTINATION4`], of IPv6.
pub const DESTINATION6: &str = "DESTINATION6";
/// Name of the array of the classes of protocols.
pub const PROTOCOLS: &str = "PROTOCOLS";
/// Name of the array of the classes of source ports.
pub const SOURCE_PORTS: &str = "SOURCE_PORTS";
/// Name of the array of the classes of destination ports.
pub const DEST_PORTS: &str = "DEST_PORTS";
/// Name of the array of classes: [`steering::Rules`] each.
pub const CLASSES: &str = "CLASSES";
/// Name of the array of one [`steering::Action`] for each rule.
pub const ACTIONS: &str = "ACTIONS";
/// Name of the per-CPU array of one [`Counter`] for each rule.
pub const HITS: &str = "HITS";
/// Name of the array of the CPUs that rules name.
pub const CPU_CHOICES: &str = "CPU_CHOICES";
/// Name of the map of CPUs (`BPF_MAP_TYPE_CPUMAP`).
pub const CPUS: &str = "CPUS";
/// Name of the map of interfaces, by index (`BPF_MAP_TYPE_DEVMAP_HASH`).
pub const DEVICES: &str = "DEVICES";
/// Name of the map of sockets, by receive queue (`BPF_MAP_TYPE_XSKMAP`).
pub const SOCKETS: &str = "SOCKETS";

/// Most interfaces to which rules redirect.
pub const MAX_DEVICES: u32 = 64;
/// Most receive queues.
pub const MAX_QUEUES: u32 = 64;

/// Most entries of [`LOCAL4`] and of [`LOCAL6`].
///
/// The largest instances take 50 addresses or prefixes for each ENI and family (EC2 user guide,
/// "Maximum IP addresses per network interface"); the tries take memory only as they fill.
pub const ADDRESSES: u32 = 4096;

/// Name of the XDP program that checks what arrives.
pub const INGRESS_XDP: &str = "eni_ingress";
/// Name of the TC program that checks what arrives.
pub const INGRESS_TC: &str = "eni_ingress_tc";
/// Name of the XDP program that checks what is redirected out of the ENI, run by a map of interfaces.
pub const EGRESS_XDP: &str = "eni_egress_xdp";
/// Name of the TC program that checks what leaves.
pub const EGRESS: &str = "eni_egress";
/// Name of the TC program that gives what arrives to the pod that it is for.
pub const TO_POD: &str = "eni_to_pod";
/// Name of the TC program that checks what a pod sends, and sends it out of the ENI.
pub const FROM_POD: &str = "eni_from_pod";
