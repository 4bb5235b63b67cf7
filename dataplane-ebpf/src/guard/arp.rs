//! ARP: anyone may speak to us, we speak only for ourselves.

use eniway_abi::{Config, Reason, flags};

use super::{Addresses, is_local4};
use crate::packet::{self, Bytes};

#[inline(always)]
pub(super) fn ingress<P: Bytes + ?Sized>(packet: &P) -> Reason {
    match packet::arp(packet) {
        // Also one that claims our address: the stack must see a conflict to report it.
        Some(_) => Reason::Arp,
        None => Reason::Malformed,
    }
}

#[inline(always)]
pub(super) fn egress<P: Bytes + ?Sized>(
    packet: &P,
    addresses: &impl Addresses,
    config: &Config,
) -> Reason {
    let Some(arp) = packet::arp(packet) else {
        return Reason::Malformed;
    };
    if arp.sender_mac != config.mac {
        return Reason::ArpSpoof;
    }
    // A probe for an address not yet in use has no sender (RFC 5227 §2.1.1).
    let is_probe = arp.sender_address == [0; 4];
    if is_probe
        || !config.has(flags::SOURCE_DEST_CHECK)
        || is_local4(arp.sender_address, addresses, config)
    {
        Reason::Arp
    } else {
        Reason::ArpSpoof
    }
}
