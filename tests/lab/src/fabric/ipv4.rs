//! Carries IPv4: within a subnet by MAC, through the router by address.

use std::net::Ipv4Addr;

use super::{
    ETHERNET_HEADER, Ethernet, Fabric, Interface, Reason, Verdict, array, checksum, stopped,
};

const UDP: u8 = 17;

impl Fabric {
    pub(super) fn ipv4(&self, sender: &Interface, header: &Ethernet, frame: &[u8]) -> Verdict {
        let packet = &frame[ETHERNET_HEADER..];
        let Some(ip) = Header::parse(packet) else {
            return stopped(Reason::Malformed);
        };
        let ports = array(packet, ip.length);
        if ip.protocol == UDP && ip.offset == 0 && ports == Some([0, 68, 0, 67]) {
            return self.dhcp(sender, packet.get(ip.length + 8..).unwrap_or_default());
        }
        if sender.source_dest_check && !sender.has4(ip.source) {
            return stopped(Reason::SourceAddress);
        }
        if header.destination.is_group()
            || ip.destination.is_multicast()
            || ip.destination.is_broadcast()
        {
            return stopped(Reason::Multicast);
        }
        let Some(subnet) = self.network.subnet_of(sender) else {
            return stopped(Reason::UnknownDestination);
        };
        if header.destination != subnet.router_mac() {
            let Some(receiver) = self.network.neighbour(&subnet.id, header.destination) else {
                return stopped(Reason::UnknownDestination);
            };
            return self.deliver(receiver, receiver.has4(ip.destination), frame.to_vec());
        }
        let Some(receiver) = self.network.owner4(ip.destination) else {
            return stopped(Reason::UnknownDestination);
        };
        let Some(target) = self.network.subnet_of(receiver) else {
            return stopped(Reason::UnknownDestination);
        };
        if ip.ttl <= 1 {
            return stopped(Reason::Expired);
        }
        let routed = Ethernet {
            destination: receiver.mac,
            source: target.router_mac(),
            protocol: super::IPV4,
        };
        self.deliver(receiver, true, routed.with(&one_hop_on(packet, ip.length)))
    }
}

/// The packet with one hop less and a new checksum.
fn one_hop_on(packet: &[u8], header_length: usize) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[8] -= 1;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..header_length]]);
    packet[10..12].copy_from_slice(&sum);
    packet
}

struct Header {
    /// Bytes, with options.
    length: usize,
    /// Of the fragment, in units of 8 bytes; only the first one has ports.
    offset: u16,
    ttl: u8,
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
}

impl Header {
    fn parse(packet: &[u8]) -> Option<Self> {
        let [first] = array(packet, 0)?;
        let length = usize::from(first & 15) * 4;
        let total = usize::from(u16::from_be_bytes(array(packet, 2)?));
        let whole = first >> 4 == 4 && length >= 20 && total >= length && packet.len() >= total;
        whole.then_some(())?;
        Some(Self {
            length,
            offset: u16::from_be_bytes(array(packet, 6)?) & 0x1fff,
            ttl: packet[8],
            protocol: packet[9],
            source: array(packet, 12)?.into(),
            destination: array(packet, 16)?.into(),
        })
    }
}
