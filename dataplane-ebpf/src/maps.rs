//! The maps of one ENI.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, CpuMap, DevMapHash, HashMap, LpmTrie, PerCpuArray, RingBuf, XskMap},
};
use eniway_abi::{
    ADDRESSES, AddressValue, COUNTERS, Config, Counter, EVENTS_BYTES, MAX_DEVICES, MAX_QUEUES,
    POD_ADDRESSES, Pod, Sampler, Watcher,
    steering::{Action, Rules},
};

use crate::packet::Ipv6;

#[map]
pub(crate) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);

// Addresses in network order, as integers, so that a key is written as one.
#[map]
pub(crate) static LOCAL4: LpmTrie<u32, AddressValue> = LpmTrie::with_max_entries(ADDRESSES, 0);

#[map]
pub(crate) static LOCAL6: LpmTrie<u128, AddressValue> = LpmTrie::with_max_entries(ADDRESSES, 0);

#[map]
pub(crate) static COUNTS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(COUNTERS, 0);

#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);

#[map]
pub(crate) static WATCHER: Array<Watcher> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static SAMPLER: PerCpuArray<Sampler> = PerCpuArray::with_max_entries(1, 0);

/// Bytes of the longest header that is read at once.
pub(crate) const LONGEST_HEADER: usize = size_of::<Ipv6>();

/// Where a header is copied that lies outside a packet's linear part. Unlike the stack, the verifier
/// lets a map be read where it is not aligned, as fields of headers are.
#[map]
pub(crate) static COPY: PerCpuArray<[u8; LONGEST_HEADER]> = PerCpuArray::with_max_entries(1, 0);

/// Who has which address, IPv4 mapped into IPv6; in network order, as an integer.
#[map]
pub(crate) static PODS: HashMap<u128, Pod> =
    HashMap::with_max_entries(POD_ADDRESSES, BPF_F_NO_PREALLOC);

/// The index of the ENI's interface.
#[map]
pub(crate) static UPLINK: Array<u32> = Array::with_max_entries(1, 0);

// The steering rules. The agent makes these maps as large as the rules need, and anew for each set of
// rules, so that a program goes from one set to the next between two packets. Only sockets stay.

/// What rules look at: a constant to the verifier, which leaves out what is not looked at.
#[unsafe(no_mangle)]
pub(crate) static STEERING: u32 = 0;

#[map]
pub(crate) static SOURCE4: LpmTrie<u32, u32> = LpmTrie::with_max_entries(1, 0);

#[map]
pub(crate) static SOURCE6: LpmTrie<u128, u32> = LpmTrie::with_max_entries(1, 0);

#[map]
pub(crate) static DESTINATION4: LpmTrie<u32, u32> = LpmTrie::with_max_entries(1, 0);

#[map]
pub(crate) static DESTINATION6: LpmTrie<u128, u32> = LpmTrie::with_max_entries(1, 0);

#[map]
pub(crate) static PROTOCOLS: Array<u32> = Array::with_max_entries(256, 0);

#[map]
pub(crate) static SOURCE_PORTS: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static DEST_PORTS: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static CLASSES: Array<Rules> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static ACTIONS: Array<Action> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static HITS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static CPU_CHOICES: Array<u32> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static CPUS: CpuMap = CpuMap::with_max_entries(1, 0);

#[map]
pub(crate) static DEVICES: DevMapHash = DevMapHash::with_max_entries(MAX_DEVICES, 0);

#[map]
pub(crate) static SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);
