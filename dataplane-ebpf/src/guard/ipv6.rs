//! The rules for IPv6.

use eniway_abi::{Config, Reason, flags};

use super::{Addresses, is_local6};
use crate::packet::{self, Bytes, Ipv6, Ports};

const DHCP_ANSWER: Ports = Ports {
    source: 547,
    destination: 546,
};
const DHCP_REQUEST: Ports = Ports {
    source: 546,
    destination: 547,
};

const NEIGHBOR_SOLICITATION: u8 = 135;
const LISTENER_REPORT: u8 = 143;

#[inline(always)]
pub(super) fn ingress<P: Bytes + ?Sized>(
    packet: &P,
    addresses: &impl Addresses,
    config: &Config,
) -> Reason {
    let Some(header) = packet::ipv6(packet) else {
        return Reason::Malformed;
    };
    let Ipv6 {
        source,
        destination,
        ..
    } = header;
    let is_checked = config.has(flags::SOURCE_DEST_CHECK);
    let icmp = header.icmp_type(packet);

    if is_martian(source) || source[0] == 0xff {
        return Reason::MartianSource;
    }
    if is_unspecified(source) && without_source(&header, icmp).is_none() {
        return Reason::MartianSource;
    }
    if is_discovery(icmp) && header.hop_limit != 255 {
        return Reason::NdHopLimit;
    }
    if is_checked && (source == config.link_local || is_local6(source, addresses, config)) {
        return Reason::SelfSpoof;
    }
    let accepted = if is_discovery(icmp) {
        Reason::NeighborDiscovery
    } else {
        Reason::Passed
    };
    if destination[0] == 0xff {
        // The scope of the group (RFC 4291 §2.7).
        return match destination[1] & 0x0f {
            0 | 1 => Reason::MartianDestination,
            2 if is_discovery(icmp) => accepted,
            2 => Reason::LinkMulticast,
            _ if config.has(flags::MULTICAST) => accepted,
            _ => Reason::Multicast,
        };
    }
    if is_link_local(destination) {
        return link_local(&header, packet, icmp, DHCP_ANSWER);
    }
    if is_martian(destination) || is_unspecified(destination) {
        return Reason::MartianDestination;
    }
    if !is_checked || is_local6(destination, addresses, config) {
        return accepted;
    }
    Reason::DestinationMismatch
}

#[inline(always)]
pub(super) fn egress<P: Bytes + ?Sized>(
    packet: &P,
    addresses: &impl Addresses,
    config: &Config,
) -> Reason {
    let Some(header) = packet::ipv6(packet) else {
        return Reason::Malformed;
    };
    let source = header.source;
    let is_checked = config.has(flags::SOURCE_DEST_CHECK);
    let icmp = header.icmp_type(packet);

    if is_martian(source) || source[0] == 0xff {
        return Reason::MartianSource;
    }
    if is_unspecified(source) {
        return without_source(&header, icmp).unwrap_or(Reason::MartianSource);
    }
    let is_own = !is_checked || source == config.link_local || is_local6(source, addresses, config);
    if !is_own {
        return Reason::SourceMismatch;
    }
    if is_link_local(source) {
        return link_local(&header, packet, icmp, DHCP_REQUEST);
    }
    if is_discovery(icmp) {
        return Reason::NeighborDiscovery;
    }
    Reason::Passed
}

/// What a host may say before it has an address: the test whether one is taken (RFC 4862 §5.4.2), and
/// which groups it joins for that (RFC 3810 §5.2.13).
#[inline(always)]
fn without_source(header: &Ipv6, icmp: u8) -> Option<Reason> {
    match icmp {
        NEIGHBOR_SOLICITATION if is_solicited_node(header.destination) => {
            Some(Reason::NeighborDiscovery)
        }
        LISTENER_REPORT if header.destination[0] == 0xff => Some(Reason::LinkMulticast),
        _ => None,
    }
}

/// What kind of link-local traffic this is, all of it welcome.
#[inline(always)]
fn link_local<P: Bytes + ?Sized>(header: &Ipv6, packet: &P, icmp: u8, dhcp: Ports) -> Reason {
    if is_discovery(icmp) {
        Reason::NeighborDiscovery
    } else if header.is_udp(packet, dhcp) {
        Reason::Dhcp
    } else {
        Reason::LinkLocal
    }
}

/// Router and neighbour solicitation and advertisement, redirect (RFC 4861 §4).
#[inline(always)]
const fn is_discovery(icmp: u8) -> bool {
    matches!(icmp, 133..=137)
}

#[inline(always)]
const fn is_link_local(address: [u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

#[inline(always)]
fn is_unspecified(address: [u8; 16]) -> bool {
    address == [0; 16]
}

/// Never on a wire: loopback, and IPv4 addresses in disguise (RFC 6890).
#[inline(always)]
fn is_martian(address: [u8; 16]) -> bool {
    const LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    address == LOOPBACK || address.first_chunk() == Some(&MAPPED)
}

/// ff02::1:ff00:0/104 (RFC 4291 §2.7.1).
#[inline(always)]
fn is_solicited_node(address: [u8; 16]) -> bool {
    const PREFIX: [u8; 13] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
    address.first_chunk() == Some(&PREFIX)
}
