//! Decides whether a packet belongs to the ENI: the source/destination check, and what surrounds it.
//!
//! Pure: no map, no helper, no clock. The same packet, addresses and settings give the same verdict,
//! on the host and in the kernel. Every rule returns its [`Reason`]; what Enforce drops and Audit
//! only counts is decided once, in `judge`.
//!
//! Addresses are the last thing looked at, so a packet that breaks two rules is counted under the
//! more basic one. Fragments are checked like whole packets, for each carries the network header.

mod arp;
mod ipv4;
mod ipv6;
#[cfg(test)]
mod tests;

use eniway_abi::{Config, Outcome, Reason, flags, mode};

use crate::packet::{self, Bytes, ethertype};

/// The ENI's own addresses and prefixes, as the maps hold them.
pub trait Addresses {
    /// Tells whether an IPv4 address is the ENI's.
    fn has4(&self, address: [u8; 4]) -> bool;

    /// Tells whether an IPv6 address is the ENI's.
    fn has6(&self, address: [u8; 16]) -> bool;
}

/// What becomes of a packet, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that decided.
    pub reason: Reason,
    /// What becomes of the packet.
    pub outcome: Outcome,
}

impl Verdict {
    /// Tells whether the packet ends here.
    #[inline(always)]
    pub const fn is_drop(self) -> bool {
        matches!(self.outcome, Outcome::Dropped)
    }
}

/// Judges a packet that comes from the VPC.
#[inline(always)]
pub fn ingress<P: Bytes + ?Sized>(
    packet: &P,
    addresses: &impl Addresses,
    config: &Config,
) -> Verdict {
    if config.mode == mode::OFF {
        return judge(Reason::Off, config);
    }
    judge(arriving(packet, addresses, config), config)
}

/// Judges a packet that leaves for the VPC.
#[inline(always)]
pub fn egress<P: Bytes + ?Sized>(
    packet: &P,
    addresses: &impl Addresses,
    config: &Config,
) -> Verdict {
    if config.mode == mode::OFF {
        return judge(Reason::Off, config);
    }
    judge(leaving(packet, addresses, config), config)
}

/// What the mode makes of a reason.
#[inline(always)]
fn judge(reason: Reason, config: &Config) -> Verdict {
    let outcome = if !reason.is_violation() {
        Outcome::Passed
    } else if config.mode == mode::ENFORCE {
        Outcome::Dropped
    } else {
        Outcome::Audited
    };
    Verdict { reason, outcome }
}

#[inline(always)]
fn arriving<P: Bytes + ?Sized>(packet: &P, addresses: &impl Addresses, config: &Config) -> Reason {
    let Some(ethernet) = packet::ethernet(packet) else {
        return Reason::Malformed;
    };
    if packet.is_tagged() {
        return Reason::Vlan;
    }
    if ethernet.destination != config.mac && !ethernet.is_group() {
        return Reason::DestinationMac;
    }
    match ethernet.ethertype.get() {
        ethertype::IPV4 => ipv4::ingress(packet, addresses, config),
        ethertype::IPV6 => ipv6::ingress(packet, addresses, config),
        ethertype::ARP => arp::ingress(packet),
        ethertype::VLAN | ethertype::PROVIDER_VLAN => Reason::Vlan,
        _ => Reason::OtherProtocol,
    }
}

#[inline(always)]
fn leaving<P: Bytes + ?Sized>(packet: &P, addresses: &impl Addresses, config: &Config) -> Reason {
    let Some(ethernet) = packet::ethernet(packet) else {
        return Reason::Malformed;
    };
    if packet.is_tagged() {
        return Reason::Vlan;
    }
    if ethernet.source != config.mac {
        return Reason::SourceMac;
    }
    match ethernet.ethertype.get() {
        ethertype::IPV4 => ipv4::egress(packet, addresses, config),
        ethertype::IPV6 => ipv6::egress(packet, addresses, config),
        ethertype::ARP => arp::egress(packet, addresses, config),
        ethertype::RARP => Reason::Rarp,
        ethertype::VLAN | ethertype::PROVIDER_VLAN => Reason::Vlan,
        _ => Reason::OtherProtocol,
    }
}

/// Tells whether the address is the ENI's, with as little searching as possible.
#[inline(always)]
fn is_local4(address: [u8; 4], addresses: &impl Addresses, config: &Config) -> bool {
    config.cover4.contains(address) && (config.has(flags::COVER4_EXACT) || addresses.has4(address))
}

/// As [`is_local4`].
#[inline(always)]
fn is_local6(address: [u8; 16], addresses: &impl Addresses, config: &Config) -> bool {
    config.cover6.contains(address) && (config.has(flags::COVER6_EXACT) || addresses.has6(address))
}
