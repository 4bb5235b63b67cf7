//! The pods that share one ENI.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most addresses of pods on one ENI: no ENI has more ([`ADDRESSES`](crate::ADDRESSES)).
pub const POD_ADDRESSES: u32 = crate::ADDRESSES;

/// Who has an address, in the map `PODS`. All zeroes: nobody.
#[repr(C, align(8))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Pod {
    /// Index of the node's end of the pod's veth.
    pub interface: u32,
    /// MAC address of the pod's end.
    pub mac: [u8; 6],
    /// MAC address of the node's end.
    pub node_mac: [u8; 6],
}
const _: () = assert!(size_of::<Pod>() == 16);

impl Pod {
    /// Nobody.
    pub const NONE: Self = Self {
        interface: 0,
        mac: [0; 6],
        node_mac: [0; 6],
    };
}

/// The key of an IPv4 address in `PODS`: mapped into IPv6 (RFC 4291, 2.5.5.2).
#[inline(always)]
#[must_use]
pub const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[cfg(all(feature = "user", not(target_arch = "bpf")))]
mod aya_pod {
    // SAFETY: `IntoBytes + FromBytes` prove that every byte is initialized and every pattern valid.
    unsafe impl aya::Pod for super::Pod {}
}
