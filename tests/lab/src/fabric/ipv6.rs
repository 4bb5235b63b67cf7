//! Carries IPv6 and answers neighbour solicitations (RFC 4861).

use std::net::Ipv6Addr;

use super::network::ROUTER6;
use super::{
    ETHERNET_HEADER, Ethernet, Fabric, IPV6, Interface, Mac, Reason, Verdict, array, checksum,
    stopped,
};

const HEADER: usize = 40;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Solicited and override.
const FLAGS: [u8; 4] = [0x60, 0, 0, 0];
/// Option 2, target link-layer address, of one unit of eight bytes.
const TARGET_MAC: [u8; 2] = [2, 1];

impl Fabric {
    pub(super) fn ipv6(&self, sender: &Interface, header: &Ethernet, frame: &[u8]) -> Verdict {
        let packet = &frame[ETHERNET_HEADER..];
        let Some(ip) = Header::parse(packet) else {
            return stopped(Reason::Malformed);
        };
        let message = &packet[HEADER..];
        if ip.next == ICMPV6 && message.first() == Some(&NEIGHBOUR_SOLICITATION) {
            return self.solicitation(sender, &ip, message);
        }
        // Multicast listener reports and router solicitations are sent before there is an address.
        if ip.destination.is_multicast() {
            return stopped(if ip.next == ICMPV6 || ip.next == 0 {
                Reason::Absorbed
            } else {
                Reason::Multicast
            });
        }
        if sender.source_dest_check && !sender.has6(ip.source) {
            return stopped(Reason::SourceAddress);
        }
        if header.destination.is_group() {
            return stopped(Reason::Multicast);
        }
        let Some(subnet) = self.network.subnet_of(sender) else {
            return stopped(Reason::UnknownDestination);
        };
        if header.destination != subnet.router_mac() {
            let Some(receiver) = self.network.neighbour(&subnet.id, header.destination) else {
                return stopped(Reason::UnknownDestination);
            };
            return self.deliver(receiver, receiver.has6(ip.destination), frame.to_vec());
        }
        if ip.destination == ROUTER6 {
            return stopped(Reason::Absorbed);
        }
        if ip.destination.is_unicast_link_local() {
            return stopped(Reason::UnknownDestination);
        }
        let Some(receiver) = self.network.owner6(ip.destination) else {
            return stopped(Reason::UnknownDestination);
        };
        let Some(target) = self.network.subnet_of(receiver) else {
            return stopped(Reason::UnknownDestination);
        };
        if ip.hops <= 1 {
            return stopped(Reason::Expired);
        }
        let mut routed = packet.to_vec();
        routed[7] -= 1;
        let header = Ethernet {
            destination: receiver.mac,
            source: target.router_mac(),
            protocol: IPV6,
        };
        self.deliver(receiver, true, header.with(&routed))
    }

    fn solicitation(&self, sender: &Interface, ip: &Header, message: &[u8]) -> Verdict {
        let Some(target) = array(message, 8).map(Ipv6Addr::from) else {
            return stopped(Reason::Malformed);
        };
        if ip.hops != 255 {
            return stopped(Reason::Malformed);
        }
        if ip.source.is_unspecified() {
            // Duplicate address detection: nobody else has it, or EC2 would not have given it.
            return stopped(Reason::Absorbed);
        }
        if !sender.has6(ip.source) {
            return stopped(Reason::NeighbourSpoof);
        }
        let Some(mac) = self.mac_of6(sender, target) else {
            return stopped(Reason::UnknownDestination);
        };
        let body = [&FLAGS[..], &target.octets(), &TARGET_MAC, &mac.0].concat();
        let packet = icmpv6(target, ip.source, NEIGHBOUR_ADVERTISEMENT, &body);
        let frame = Ethernet {
            destination: sender.mac,
            source: mac,
            protocol: IPV6,
        }
        .with(&packet);
        (Reason::Answered, vec![(sender.port.clone(), frame)])
    }

    fn mac_of6(&self, sender: &Interface, address: Ipv6Addr) -> Option<Mac> {
        let subnet = self.network.subnet_of(sender)?;
        if address == ROUTER6 {
            return Some(subnet.router_mac());
        }
        let here =
            |interface: &&Interface| interface.subnet == sender.subnet && interface.has6(address);
        self.network
            .interfaces
            .iter()
            .find(here)
            .map(|interface| interface.mac)
    }
}

fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + body.len()).expect("an advertisement is 32 bytes");
    let (from, to) = (source.octets(), destination.octets());
    let pseudo_tail = [0, 0, 0, ICMPV6];
    let sum = checksum(&[
        &from,
        &to,
        &u32::from(length).to_be_bytes(),
        &pseudo_tail,
        &[kind, 0, 0, 0],
        body,
    ]);
    let fixed = [0x60, 0, 0, 0];
    [
        &fixed[..],
        &length.to_be_bytes(),
        &[ICMPV6, 255],
        &from,
        &to,
        &[kind, 0],
        &sum,
        body,
    ]
    .concat()
}

struct Header {
    next: u8,
    hops: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
}

impl Header {
    fn parse(packet: &[u8]) -> Option<Self> {
        let length = usize::from(u16::from_be_bytes(array(packet, 4)?));
        let whole = packet[0] >> 4 == 6 && packet.len() >= HEADER + length;
        whole.then_some(())?;
        Some(Self {
            next: packet[6],
            hops: packet[7],
            source: array(packet, 8)?.into(),
            destination: array(packet, 24)?.into(),
        })
    }
}
