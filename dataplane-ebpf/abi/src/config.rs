//! The settings of one ENI's guard, as they lie in the `CONFIG` map.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Values of [`Config::mode`]. All zeroes is `OFF`: a map that nobody has filled drops nothing.
pub mod mode {
    /// Passes everything, unread.
    pub const OFF: u8 = 0;
    /// Checks and counts, passes everything.
    pub const AUDIT: u8 = 1;
    /// Checks, counts and drops.
    pub const ENFORCE: u8 = 2;
}

/// Bits of [`Config::flags`].
pub mod flags {
    /// Addresses must be the ENI's own; without it only MACs and martians are checked.
    pub const SOURCE_DEST_CHECK: u8 = 1;
    /// Multicast wider than the link may arrive.
    pub const MULTICAST: u8 = 2;
    /// [`Config::cover4`](super::Config::cover4) is all of the ENI's IPv4 addresses, no more.
    pub const COVER4_EXACT: u8 = 4;
    /// [`Config::cover6`](super::Config::cover6) is all of the ENI's IPv6 addresses, no more.
    pub const COVER6_EXACT: u8 = 8;
}

/// The smallest IPv4 prefix around all of the ENI's addresses.
///
/// What lies outside is not the ENI's, which spares most packets a search in the trie. No addresses:
/// a network of ones under a mask of zeroes, which holds nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cover4 {
    /// Network address.
    pub network: [u8; 4],
    /// Netmask.
    pub mask: [u8; 4],
}
const _: () = assert!(size_of::<Cover4>() == 8);

/// The smallest IPv6 prefix around all of the ENI's addresses; as [`Cover4`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cover6 {
    /// Network address.
    pub network: [u8; 16],
    /// Netmask.
    pub mask: [u8; 16],
}
const _: () = assert!(size_of::<Cover6>() == 32);

/// The settings of one ENI's guard.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Config {
    /// The ENI's MAC address.
    pub mac: [u8; 6],
    /// One of [`mode`].
    pub mode: u8,
    /// Bits of [`flags`].
    pub flags: u8,
    /// The address most packets are sent to: compared before anything is searched. Zeroes: none.
    pub primary4: [u8; 4],
    /// Broadcast address of the subnet. Zeroes: unknown.
    pub broadcast4: [u8; 4],
    /// The subnet's router, whose DHCP answers come before the lease is installed. Zeroes: unknown.
    pub router4: [u8; 4],
    /// Explicit, so that there is no implicit padding.
    pub reserved: [u8; 4],
    /// Around all IPv4 addresses.
    pub cover4: Cover4,
    /// Around all IPv6 addresses.
    pub cover6: Cover6,
    /// The link-local address made from the MAC (RFC 4291, appendix A).
    pub link_local: [u8; 16],
}
const _: () = assert!(size_of::<Config>() == 80);

/// What a trie holds for an address or prefix: that it is there.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AddressValue {
    /// Always 1; the kernel wants a value of at least one byte.
    pub present: u8,
}
const _: () = assert!(size_of::<AddressValue>() == 1);

impl Cover4 {
    /// Holds nothing.
    pub const EMPTY: Self = Self {
        network: [0xff; 4],
        mask: [0; 4],
    };

    /// Tells whether `address` lies inside.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, address: [u8; 4]) -> bool {
        let mask = u32::from_ne_bytes(self.mask);
        u32::from_ne_bytes(address) & mask == u32::from_ne_bytes(self.network)
    }
}

impl Cover6 {
    /// Holds nothing.
    pub const EMPTY: Self = Self {
        network: [0xff; 16],
        mask: [0; 16],
    };

    /// Tells whether `address` lies inside.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, address: [u8; 16]) -> bool {
        let mask = u128::from_ne_bytes(self.mask);
        u128::from_ne_bytes(address) & mask == u128::from_ne_bytes(self.network)
    }
}

impl Config {
    /// Tells whether `flag`, one of [`flags`], is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

#[cfg(all(feature = "user", not(target_arch = "bpf")))]
mod pod {
    // SAFETY: `IntoBytes + FromBytes` prove that every byte is initialized and every pattern valid.
    unsafe impl aya::Pod for super::Config {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::AddressValue {}
}
