//! Raw Ethernet frames: honest ones and lies, for both sides of the check.

use std::net::Ipv4Addr;

use eniway_api::MacAddress;
use etherparse::PacketBuilder;

/// A UDP datagram as a frame; every part of it may be a lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Udp {
    /// Ethernet source.
    pub(super) source_mac: MacAddress,
    /// Ethernet destination.
    pub(super) destination_mac: MacAddress,
    /// IPv4 source.
    pub(super) source: Ipv4Addr,
    /// IPv4 destination.
    pub(super) destination: Ipv4Addr,
}

impl Udp {
    /// The frame, with right lengths and checksums, from port 4001 to port 4002.
    pub(super) fn frame(&self) -> Vec<u8> {
        let payload = b"eniway";
        let builder = PacketBuilder::ethernet2(self.source_mac.0, self.destination_mac.0)
            .ipv4(self.source.octets(), self.destination.octets(), 64)
            .udp(4001, 4002);
        let mut frame = Vec::with_capacity(builder.size(payload.len()));
        builder
            .write(&mut frame, payload)
            .expect("a vector takes every write, and the payload is short");
        frame
    }
}
