//! The rules for IPv4.

use eniway_abi::{Config, Reason, flags};

use super::{Addresses, is_local4};
use crate::packet::{self, Bytes, Ipv4, Ports};

const LIMITED_BROADCAST: [u8; 4] = [255; 4];

const DHCP_ANSWER: Ports = Ports {
    source: 67,
    destination: 68,
};
const DHCP_REQUEST: Ports = Ports {
    source: 68,
    destination: 67,
};

#[inline(always)]
pub(super) fn ingress<P: Bytes + ?Sized>(
    packet: &P,
    addresses: &impl Addresses,
    config: &Config,
) -> Reason {
    let Some(header) = packet::ipv4(packet) else {
        return Reason::Malformed;
    };
    let Ipv4 {
        source,
        destination,
        ..
    } = header;
    let is_checked = config.has(flags::SOURCE_DEST_CHECK);

    if is_martian(source) {
        return Reason::MartianSource;
    }
    if is_checked {
        if is_local4(source, addresses, config) {
            return Reason::SelfSpoof;
        }
        // Nearly every packet. The ENI's addresses are ordinary ones, so no other rule is about it.
        if destination == config.primary4 && destination != [0; 4] {
            return Reason::Passed;
        }
    }
    if destination == LIMITED_BROADCAST || is_broadcast(destination, config) {
        return if header.is_udp(packet, DHCP_ANSWER) {
            Reason::Dhcp
        } else {
            Reason::Broadcast
        };
    }
    match destination {
        [224, 0, 0, _] => return Reason::LinkMulticast,
        [224..=239, ..] if config.has(flags::MULTICAST) => return Reason::Passed,
        [224..=239, ..] => return Reason::Multicast,
        _ if is_martian(destination) => return Reason::MartianDestination,
        _ => {}
    }
    if !is_checked || is_local4(destination, addresses, config) {
        return Reason::Passed;
    }
    // The answer to a first request comes to an address the ENI is only about to have.
    if source == config.router4 && header.is_udp(packet, DHCP_ANSWER) {
        return Reason::Dhcp;
    }
    Reason::DestinationMismatch
}

#[inline(always)]
pub(super) fn egress<P: Bytes + ?Sized>(
    packet: &P,
    addresses: &impl Addresses,
    config: &Config,
) -> Reason {
    let Some(header) = packet::ipv4(packet) else {
        return Reason::Malformed;
    };
    let Ipv4 {
        source,
        destination,
        ..
    } = header;

    if source == [0; 4] && destination == LIMITED_BROADCAST && header.is_udp(packet, DHCP_REQUEST) {
        return Reason::Dhcp;
    }
    // A link-local source may come from the VPC's own services, never from a host.
    if is_martian(source) || matches!(source, [169, 254, ..]) {
        return Reason::MartianSource;
    }
    if !config.has(flags::SOURCE_DEST_CHECK) || is_local4(source, addresses, config) {
        return Reason::Passed;
    }
    Reason::SourceMismatch
}

/// No host's address: "this network", loopback, multicast, reserved (RFC 6890).
#[inline(always)]
const fn is_martian(address: [u8; 4]) -> bool {
    matches!(u32::from_be_bytes(address) >> 24, 0 | 127 | 224..)
}

#[inline(always)]
fn is_broadcast(address: [u8; 4], config: &Config) -> bool {
    address == config.broadcast4 && config.broadcast4 != [0; 4]
}
