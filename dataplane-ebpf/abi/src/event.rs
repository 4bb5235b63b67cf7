//! What is told of single packets that broke a rule, while somebody watches.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a packet that an [`Event`] shows, from its Ethernet header on.
pub const HEAD: usize = 64;

/// Bytes of the `EVENTS` ring: a power of two, and whole pages on every architecture.
pub const EVENTS_BYTES: u32 = 64 * 1024;

/// A packet that broke a rule, in the `EVENTS` ring.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Event {
    /// Nanoseconds since the boot, with the time asleep (CLOCK_BOOTTIME).
    pub time: u64,
    /// Bytes of the whole packet.
    pub length: u32,
    /// A [`Direction`](crate::Direction).
    pub direction: u8,
    /// An [`Outcome`](crate::Outcome).
    pub outcome: u8,
    /// A [`Reason`](crate::Reason).
    pub reason: u8,
    /// Bytes of `head` that are the packet's; the others are zero.
    pub captured: u8,
    /// How the packet begins.
    pub head: [u8; HEAD],
}
const _: () = assert!(size_of::<Event>() == 80);

/// Who watches, in the array `WATCHER` of one. All zeroes: nobody, and nothing is written.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Watcher {
    /// Most events in a second, on each CPU.
    pub per_second: u32,
}
const _: () = assert!(size_of::<Watcher>() == 4);

/// How much was told, of one CPU, in the array `SAMPLER` of one.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Sampler {
    /// When the present second began, as [`Event::time`].
    pub began: u64,
    /// Events told since then.
    pub told: u64,
    /// Packets of which nothing was told because the second had its share.
    pub suppressed: u64,
    /// Packets of which nothing was told because the ring was full.
    pub lost: u64,
}
const _: () = assert!(size_of::<Sampler>() == 32);

#[cfg(all(feature = "user", not(target_arch = "bpf")))]
mod pod {
    // SAFETY: `IntoBytes + FromBytes` prove that every byte is initialized and every pattern valid.
    unsafe impl aya::Pod for super::Watcher {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Sampler {}
}
