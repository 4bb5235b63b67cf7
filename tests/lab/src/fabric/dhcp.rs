//! Gives each interface its primary IPv4 address by DHCP (RFC 2131), as the VPC's own server.

use std::net::Ipv4Addr;

use super::{Ethernet, Fabric, IPV4, Interface, Reason, Subnet, Verdict, array, checksum, stopped};

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where options begin, after the fixed fields and the cookie.
const OPTIONS: usize = 240;
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
/// Seconds; what AWS gives.
const LEASE: u32 = 3600;
/// What AWS tells.
const MTU: u16 = 9001;

impl Fabric {
    pub(super) fn dhcp(&self, sender: &Interface, message: &[u8]) -> Verdict {
        let Some(kind) = message_type(message) else {
            return stopped(Reason::Malformed);
        };
        let answer = match kind {
            DISCOVER => OFFER,
            REQUEST => ACK,
            _ => return stopped(Reason::Absorbed),
        };
        let (Some(subnet), Some(address)) = (self.network.subnet_of(sender), sender.ipv4.first())
        else {
            return stopped(Reason::Absorbed);
        };
        let reply = reply(message, answer, *address, subnet);
        let packet = udp(subnet.router(), *address, &reply);
        let header = Ethernet {
            destination: sender.mac,
            source: subnet.router_mac(),
            protocol: IPV4,
        };
        (
            Reason::Answered,
            vec![(sender.port.clone(), header.with(&packet))],
        )
    }
}

/// Option 53 of a request.
fn message_type(message: &[u8]) -> Option<u8> {
    let is_request = array(message, 0)? == [1_u8] && array(message, OPTIONS - 4)? == COOKIE;
    is_request.then_some(())?;
    let mut rest = message.get(OPTIONS..)?;
    loop {
        match rest {
            [53, 1, kind, ..] => return Some(*kind),
            [0, tail @ ..] => rest = tail,
            [255, ..] | [] | [_] => return None,
            [_, length, tail @ ..] => rest = tail.get(usize::from(*length)..)?,
        }
    }
}

fn reply(request: &[u8], kind: u8, address: Ipv4Addr, subnet: &Subnet) -> Vec<u8> {
    let router = subnet.router().octets();
    let resolver = Ipv4Addr::from(u32::from(subnet.ipv4.network()) + 2).octets();
    // The fixed fields of the request, with the answer's code, no client address, and `yiaddr`.
    let mut reply = request[..OPTIONS].to_vec();
    reply[0] = 2;
    reply[12..16].fill(0);
    reply[16..20].copy_from_slice(&address.octets());
    for (option, value) in [
        (53, &[kind][..]),
        (54, &router),
        (51, &LEASE.to_be_bytes()),
        (1, &subnet.ipv4.netmask().octets()),
        (3, &router),
        (6, &resolver),
        (26, &MTU.to_be_bytes()),
    ] {
        let length = u8::try_from(value.len()).expect("no option here is longer than four bytes");
        reply.extend([option, length]);
        reply.extend(value);
    }
    reply.push(255);
    reply
}

/// A UDP packet from port 67 to port 68; its checksum is left out, which IPv4 allows.
fn udp(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let size = |bytes: usize| {
        u16::try_from(bytes)
            .expect("a DHCP message is shorter than 64 KiB")
            .to_be_bytes()
    };
    let udp = [
        &[0, 67, 0, 68][..],
        &size(8 + payload.len()),
        &[0, 0],
        payload,
    ]
    .concat();
    let mut header = [
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    header[2..4].copy_from_slice(&size(20 + udp.len()));
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [&header[..], &udp].concat()
}
