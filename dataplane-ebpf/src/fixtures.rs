//! Frames and the rule that must decide about each: read by the guard's tests on the host, and by those
//! that run the same frames through the kernel.

mod frame;
mod generator;
// One line for each rule.
#[rustfmt::skip]
pub mod model;
// One line for each fixture.
#[rustfmt::skip]
mod table;

use eniway_abi::{Config, Cover4, Cover6, Direction, Reason, flags, mode};

pub use self::{generator::Generator, table::all};
use crate::guard::Addresses;

/// A frame and what must be said of it.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// What it is.
    pub name: &'static str,
    /// Which way it goes.
    pub direction: Direction,
    /// The frame.
    pub frame: Vec<u8>,
    /// The rule that decides while the check is on.
    pub checked: Reason,
    /// The rule that decides while it is off.
    pub unchecked: Reason,
}

/// The MAC of the ENI all frames are about.
pub const MAC: [u8; 6] = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];

/// Its IPv4 address.
pub const ADDRESS4: [u8; 4] = [10, 0, 1, 10];
/// Its IPv4 prefix, of length 28.
pub const PREFIX4: [u8; 4] = [10, 0, 1, 64];
/// Its IPv6 address.
pub const ADDRESS6: [u8; 16] = [0x26, 0, 0x1f, 0x14, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x10];
/// Its IPv6 prefix, of length 80.
pub const PREFIX6: [u8; 16] = [
    0x26, 0, 0x1f, 0x14, 0, 0, 0, 1, 0xab, 0xcd, 0, 0, 0, 0, 0, 0,
];
/// Its link-local address, from the MAC.
pub const LINK_LOCAL: [u8; 16] = [
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x22, 0xff, 0xfe, 0x33, 0x44, 0x55,
];
/// The network of its subnet, of length 24.
pub const SUBNET4: [u8; 4] = [10, 0, 1, 0];
/// The router of its subnet.
pub const ROUTER4: [u8; 4] = [10, 0, 1, 1];

/// The ENI's settings in Enforce, as the agent would write them.
#[must_use]
pub fn config(is_checked: bool) -> Config {
    Config {
        mac: MAC,
        mode: mode::ENFORCE,
        flags: if is_checked {
            flags::SOURCE_DEST_CHECK
        } else {
            flags::MULTICAST
        },
        primary4: ADDRESS4,
        broadcast4: [10, 0, 1, 255],
        router4: ROUTER4,
        reserved: [0; 4],
        cover4: Cover4 {
            network: [10, 0, 1, 0],
            mask: [255, 255, 255, 128],
        },
        cover6: Cover6 {
            network: [0x26, 0, 0x1f, 0x14, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            mask: [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        },
        link_local: LINK_LOCAL,
    }
}

/// The ENI's addresses, as a model of the tries: compared one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own;

impl Addresses for Own {
    fn has4(&self, address: [u8; 4]) -> bool {
        address == ADDRESS4 || (address[..3] == PREFIX4[..3] && address[3] & 0xf0 == PREFIX4[3])
    }

    fn has6(&self, address: [u8; 16]) -> bool {
        address == ADDRESS6 || address[..10] == PREFIX6[..10]
    }
}
