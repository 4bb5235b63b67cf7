//! Answers ARP requests in the name of the router and of every interface of the subnet.

use std::net::Ipv4Addr;

use super::{ARP, Ethernet, Fabric, Interface, Mac, Reason, Verdict, array, stopped};

/// Ethernet and IPv4, with the lengths of their addresses (RFC 826).
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

impl Fabric {
    pub(super) fn arp(&self, sender: &Interface, packet: &[u8]) -> Verdict {
        let Some(arp) = Arp::parse(packet) else {
            return stopped(Reason::Malformed);
        };
        let probe = arp.sender_address.is_unspecified();
        if arp.sender_mac != sender.mac || !(probe || sender.has4(arp.sender_address)) {
            return stopped(Reason::NeighbourSpoof);
        }
        if arp.operation != REQUEST
            || arp.target_address == arp.sender_address
            || sender.has4(arp.target_address)
        {
            return stopped(Reason::Absorbed);
        }
        let Some(mac) = self.mac_of(sender, arp.target_address) else {
            return stopped(Reason::UnknownDestination);
        };
        let reply = Ethernet {
            destination: sender.mac,
            source: mac,
            protocol: ARP,
        }
        .with(&arp.reply(mac));
        (Reason::Answered, vec![(sender.port.clone(), reply)])
    }

    fn mac_of(&self, sender: &Interface, address: Ipv4Addr) -> Option<Mac> {
        let subnet = self.network.subnet_of(sender)?;
        if address == subnet.router() {
            return Some(subnet.router_mac());
        }
        let owner = self.network.owner4(address)?;
        (owner.subnet == sender.subnet).then_some(owner.mac)
    }
}

struct Arp {
    operation: [u8; 2],
    sender_mac: Mac,
    sender_address: Ipv4Addr,
    target_address: Ipv4Addr,
}

impl Arp {
    fn parse(packet: &[u8]) -> Option<Self> {
        let kind: [u8; 6] = array(packet, 0)?;
        (kind == KIND).then_some(())?;
        Some(Self {
            operation: array(packet, 6)?,
            sender_mac: Mac(array(packet, 8)?),
            sender_address: array(packet, 14)?.into(),
            target_address: array(packet, 24)?.into(),
        })
    }

    fn reply(&self, mac: Mac) -> Vec<u8> {
        let (from, to) = (self.target_address.octets(), self.sender_address.octets());
        [&KIND[..], &REPLY, &mac.0, &from, &self.sender_mac.0, &to].concat()
    }
}
