//! The steering rules of one ENI, as bit vectors.
//!
//! A packet's source, destination, protocol and two ports each lead to a class: the set of the rules that
//! say nothing against that value, one bit for each rule. What is in all five sets matches, and the lowest
//! bit is the first match. So a thousand rules cost what one costs: five searches and a few words.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most rules of an ENI.
pub const RULES: u32 = 1024;

/// Words of a set of rules.
pub const WORDS: usize = RULES as usize / 64;

/// A set of rules.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Rules {
    /// Which of the words are not zero, one bit each. Two sets that share no bit here share no rule.
    pub summary: u64,
    /// One bit for each rule.
    pub words: [u64; WORDS],
}
const _: () = assert!(size_of::<Rules>() == 136);

impl Rules {
    /// Takes in a rule, by its number.
    pub const fn insert(&mut self, rule: usize) {
        self.words[rule / 64] |= 1 << (rule % 64);
        self.summary |= 1 << (rule / 64);
    }
}

/// Classes of values that no rule speaks of, by what is looked at; class 0 stands for them in the maps.
pub mod unnamed {
    /// The rules that ask for no source.
    pub const SOURCE: u32 = 1;
    /// The rules that ask for no destination.
    pub const DESTINATION: u32 = 2;
    /// The rules that ask for no protocol.
    pub const PROTOCOL: u32 = 3;
    /// The rules that ask for no source port.
    pub const SOURCE_PORT: u32 = 4;
    /// The rules that ask for no destination port.
    pub const DESTINATION_PORT: u32 = 5;
}

/// Bits of the constant [`STEERING`](crate::STEERING): what rules look at. None: there are no rules.
pub mod looks {
    /// There are rules.
    pub const RULES: u32 = 1;
    /// A rule names a source.
    pub const SOURCE: u32 = 2;
    /// A rule names a destination.
    pub const DESTINATION: u32 = 4;
    /// A rule names a protocol.
    pub const PROTOCOL: u32 = 8;
    /// A rule names source ports.
    pub const SOURCE_PORT: u32 = 16;
    /// A rule names destination ports.
    pub const DESTINATION_PORT: u32 = 32;
}

/// Classes of ports in one entry of a map, whose entries take eight bytes anyway.
pub const PORTS_PER_ENTRY: u32 = 4;
/// Entries of a map of ports.
pub const PORT_ENTRIES: u32 = 65536 / PORTS_PER_ENTRY;

/// Values of [`Action::kind`]. 0: there is no such rule.
pub mod kind {
    /// To the stack.
    pub const PASS: u32 = 1;
    /// It ends here.
    pub const DROP: u32 = 2;
    /// Out of another interface, as the routing table says.
    pub const REDIRECT: u32 = 3;
    /// To the stack on another CPU.
    pub const CPU: u32 = 4;
    /// To a socket of AF_XDP.
    pub const SOCKET: u32 = 5;
}

/// What becomes of the packets of one rule.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Action {
    /// One of [`kind`].
    pub kind: u32,
    /// The index of the interface; or where in `CPU_CHOICES` the CPUs begin.
    pub value: u32,
    /// How many CPUs.
    pub count: u32,
    /// Its own number. Read back from the map it is any number to the verifier, which then need not follow each way on which
    /// the rule was found.
    pub rule: u32,
    /// Receive queues whose packets go to sockets, one bit each.
    pub queues: u64,
}
const _: () = assert!(size_of::<Action>() == 24);

#[cfg(all(feature = "user", not(target_arch = "bpf")))]
mod pod {
    // SAFETY: `IntoBytes + FromBytes` prove that every byte is initialized and every pattern valid.
    unsafe impl aya::Pod for super::Action {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Rules {}
}
