//! Which counter a packet goes to: direction × outcome × reason.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Reason;

/// Room for reasons in the counters' index; a power of two, so that the index is shifts.
const REASONS: u32 = 32;

/// Entries of the `COUNTS` map.
pub const COUNTERS: u32 = 4 * 4 * REASONS;

/// Packets and bytes, of one CPU.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Counter {
    /// Packets; what the stack has merged or not yet segmented is one.
    pub packets: u64,
    /// Bytes, with the Ethernet header.
    pub bytes: u64,
}
const _: () = assert!(size_of::<Counter>() == 16);

/// Seen from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// From the VPC to the node.
    Ingress = 0,
    /// From the node to the VPC.
    Egress = 1,
    /// From the ENI to a pod, without a way through the node's stack.
    ToPod = 2,
    /// From a pod to the ENI, or to another pod of it.
    FromPod = 3,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// No rule objected.
    Passed = 0,
    /// A rule objected and the packet is gone.
    Dropped = 1,
    /// A rule objected, and the packet went on, because the mode is Audit.
    Audited = 2,
}

/// Index in `COUNTS`.
#[inline(always)]
#[must_use]
pub const fn counter_index(direction: Direction, outcome: Outcome, reason: Reason) -> u32 {
    ((direction as u32) * 4 + outcome as u32) * REASONS + reason as u32
}

const _: () = assert!(Reason::ALL.len() <= REASONS as usize);

impl Direction {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Ingress, Self::Egress, Self::ToPod, Self::FromPod];

    /// The name in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::ToPod => "to_pod",
            Self::FromPod => "from_pod",
        }
    }
}

impl Outcome {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Passed, Self::Dropped, Self::Audited];

    /// The name in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Dropped => "dropped",
            Self::Audited => "audited",
        }
    }
}

#[cfg(all(feature = "user", not(target_arch = "bpf")))]
mod pod {
    // SAFETY: `IntoBytes + FromBytes` prove that every byte is initialized and every pattern valid.
    unsafe impl aya::Pod for super::Counter {}
}
