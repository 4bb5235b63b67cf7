//! Decides what the VPC does with a frame that an interface sends, as AWS does.
//!
//! Pure: frames in, frames out, no socket and no clock. Every frame ends in exactly one counter of
//! the port that sent it.
//!
//! - A port may send only from its ENI's MAC address, and ARP and ND only about its own addresses.
//! - With source/dest check a port sends only from, and receives only to, its ENI's addresses.
//! - The router's addresses and all known ones are answered for by the VPC; ARP is never flooded.
//! - Within a subnet frames go by MAC; to the router's MAC they are routed by address.
//! - Broadcast and multicast go nowhere, except DHCP, which the VPC answers itself.

mod arp;
mod dhcp;
mod ipv4;
mod ipv6;
mod network;

use std::collections::BTreeMap;
use std::fmt;

pub use self::network::{Interface, Mac, Network, Subnet};

const ETHERNET_HEADER: usize = 14;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Given to another port.
    Delivered,
    /// Answered by the VPC itself: ARP, neighbour discovery, DHCP.
    Answered,
    /// Needed no answer, such as a gratuitous ARP.
    Absorbed,
    /// Sent from a MAC address that is not the ENI's.
    SourceMac,
    /// Sent from an address that is not the ENI's, with source/dest check on.
    SourceAddress,
    /// Meant for an address that is not the receiving ENI's, with source/dest check on.
    DestinationAddress,
    /// Meant for a MAC or IP address that nobody has.
    UnknownDestination,
    /// Meant for an ENI that is not plugged in.
    NotPlugged,
    /// ARP or ND that claims what the ENI does not have.
    NeighbourSpoof,
    /// Broadcast or multicast, which a VPC does not carry.
    Multicast,
    /// Neither ARP, IPv4 nor IPv6.
    Protocol,
    /// With a VLAN tag, which only trunk ENIs have.
    Vlan,
    /// To be routed, but with no hop left.
    Expired,
    /// Too short, or inconsistent.
    Malformed,
}

impl Reason {
    /// Whether the frame was stopped.
    pub fn is_drop(self) -> bool {
        match self {
            Self::Delivered | Self::Answered | Self::Absorbed => false,
            Self::SourceMac
            | Self::SourceAddress
            | Self::DestinationAddress
            | Self::UnknownDestination
            | Self::NotPlugged
            | Self::NeighbourSpoof
            | Self::Multicast
            | Self::Protocol
            | Self::Vlan
            | Self::Expired
            | Self::Malformed => true,
        }
    }
}

/// A port is known by the id of the ENI that is plugged into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub String);

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a stage makes of a frame: why it ends, and what goes out.
type Verdict = (Reason, Vec<(PortId, Vec<u8>)>);

fn stopped(reason: Reason) -> Verdict {
    (reason, Vec::new())
}

/// The VPC as a switch.
#[derive(Clone, Debug, Default)]
pub struct Fabric {
    network: Network,
    plugged: std::collections::BTreeSet<PortId>,
    counters: BTreeMap<(PortId, Reason), u64>,
}

impl Fabric {
    /// Takes over what EC2 says now about addresses and checks.
    pub fn set_network(&mut self, network: Network) {
        self.network = network;
    }

    /// From now on the ENI can receive.
    pub fn plug(&mut self, port: PortId) {
        self.plugged.insert(port);
    }

    /// From now on frames for the ENI are dropped.
    pub fn unplug(&mut self, port: &PortId) {
        self.plugged.remove(port);
    }

    /// How many frames that a port sent ended for each reason.
    pub fn counters(&self) -> &BTreeMap<(PortId, Reason), u64> {
        &self.counters
    }

    /// What goes out, and where, when `port` sends `frame`.
    pub fn frame(&mut self, port: &PortId, frame: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        let (reason, out) = self.decide(port, frame);
        *self.counters.entry((port.clone(), reason)).or_default() += 1;
        out
    }

    fn decide(&self, port: &PortId, frame: &[u8]) -> Verdict {
        let Some(sender) = self.network.interface(port) else {
            return stopped(Reason::NotPlugged);
        };
        let Some(header) = Ethernet::parse(frame) else {
            return stopped(Reason::Malformed);
        };
        if header.source != sender.mac {
            return stopped(Reason::SourceMac);
        }
        let payload = &frame[ETHERNET_HEADER..];
        match header.protocol {
            VLAN | SERVICE_VLAN => stopped(Reason::Vlan),
            ARP => self.arp(sender, payload),
            IPV4 => self.ipv4(sender, &header, frame),
            IPV6 => self.ipv6(sender, &header, frame),
            _ => stopped(Reason::Protocol),
        }
    }

    /// The last step for both versions: to whom, and whether that one may have it.
    ///
    /// `accepts` says whether the destination address is the receiver's.
    fn deliver(&self, receiver: &Interface, accepts: bool, frame: Vec<u8>) -> Verdict {
        if receiver.source_dest_check && !accepts {
            return stopped(Reason::DestinationAddress);
        }
        if !self.plugged.contains(&receiver.port) {
            return stopped(Reason::NotPlugged);
        }
        (Reason::Delivered, vec![(receiver.port.clone(), frame)])
    }
}

/// An Ethernet header.
#[derive(Clone, Copy, Debug)]
struct Ethernet {
    destination: Mac,
    source: Mac,
    protocol: u16,
}

impl Ethernet {
    fn parse(frame: &[u8]) -> Option<Self> {
        Some(Self {
            destination: Mac(array(frame, 0)?),
            source: Mac(array(frame, 6)?),
            protocol: u16::from_be_bytes(array(frame, 12)?),
        })
    }

    /// A frame with this header.
    fn with(self, payload: &[u8]) -> Vec<u8> {
        [
            &self.destination.0[..],
            &self.source.0,
            &self.protocol.to_be_bytes(),
            payload,
        ]
        .concat()
    }
}

/// `N` bytes at an offset, if they are there.
fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

/// The Internet checksum, RFC 1071.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    [high, low]
}

#[cfg(test)]
mod tests;
