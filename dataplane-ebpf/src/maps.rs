//! The maps of one ENI.

use aya_ebpf::{
    macros::map,
    maps::{Array, LpmTrie, PerCpuArray},
};
use eniway_abi::{ADDRESSES, AddressValue, COUNTERS, Config, Counter};

#[map]
pub(crate) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static LOCAL4: LpmTrie<[u8; 4], AddressValue> = LpmTrie::with_max_entries(ADDRESSES, 0);

#[map]
pub(crate) static LOCAL6: LpmTrie<[u8; 16], AddressValue> = LpmTrie::with_max_entries(ADDRESSES, 0);

#[map]
pub(crate) static COUNTS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(COUNTERS, 0);
