//! The maps of one ENI.

use aya_ebpf::{
    macros::map,
    maps::{Array, LpmTrie, PerCpuArray, RingBuf},
};
use eniway_abi::{
    ADDRESSES, AddressValue, COUNTERS, Config, Counter, EVENTS_BYTES, Sampler, Watcher,
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
