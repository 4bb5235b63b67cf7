//! One line about a packet, as tcpdump's readers know it: when, where, why, who to whom.

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use jiff::{Timestamp, tz::TimeZone};

use super::inspect::mac;
use crate::bpf::Packet;

/// The line, with the time of day in `zone`.
pub(super) fn line(interface: &str, packet: &Packet, zone: &TimeZone) -> String {
    let time = Timestamp::try_from(packet.time).unwrap_or_default();
    let time = time.to_zoned(zone.clone()).strftime("%H:%M:%S%.6f");
    format!(
        "{time} {interface} {} {} {}: {}, length {}",
        packet.direction.label(),
        packet.outcome.label(),
        packet.reason.label(),
        summary(&packet.head),
        packet.length,
    )
}

/// Who speaks to whom, as far as the head can be read.
fn summary(head: &[u8]) -> String {
    let Ok(sliced) = LaxSlicedPacket::from_ethernet(head) else {
        return "no Ethernet header".to_owned();
    };
    let (source, destination) = match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => (
            IpAddr::from(ip.header().source_addr()),
            IpAddr::from(ip.header().destination_addr()),
        ),
        Some(LaxNetSlice::Ipv6(ip)) => (
            IpAddr::from(ip.header().source_addr()),
            IpAddr::from(ip.header().destination_addr()),
        ),
        Some(LaxNetSlice::Arp(arp)) => return arp_summary(arp.slice()),
        None => return link_summary(head),
    };
    match &sliced.transport {
        Some(TransportSlice::Udp(udp)) => format!(
            "{} > {}: UDP",
            end(source, udp.source_port()),
            end(destination, udp.destination_port())
        ),
        Some(TransportSlice::Tcp(tcp)) => format!(
            "{} > {}: TCP",
            end(source, tcp.source_port()),
            end(destination, tcp.destination_port())
        ),
        Some(TransportSlice::Icmpv4(icmp)) => {
            format!("{source} > {destination}: ICMP type {}", icmp.type_u8())
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            format!("{source} > {destination}: ICMPv6 type {}", icmp.type_u8())
        }
        Some(TransportSlice::Igmp(_)) => format!("{source} > {destination}: IGMP"),
        None => {
            let protocol = sliced.net.as_ref().and_then(LaxNetSlice::ip_payload_ref);
            let protocol = protocol.map_or(0, |payload| payload.ip_number.0);
            format!("{source} > {destination}: protocol {protocol}")
        }
    }
}

/// tcpdump's way to write an address with a port.
fn end(address: IpAddr, port: u16) -> String {
    format!("{address}.{port}")
}

/// `message`: an ARP message whose lengths agree.
fn arp_summary(message: &[u8]) -> String {
    let address = |at: usize| {
        let octets: Option<[u8; 4]> = message.get(at..at + 4).and_then(|it| it.try_into().ok());
        octets.map_or_else(|| "?".to_owned(), |octets| IpAddr::from(octets).to_string())
    };
    let sender: Option<[u8; 6]> = message.get(8..14).and_then(|it| it.try_into().ok());
    let sender = sender.map_or_else(|| "?".to_owned(), mac);
    match message.get(7) {
        Some(1) => format!(
            "ARP who has {} tell {} at {sender}",
            address(24),
            address(14)
        ),
        _ => format!("ARP {} is at {sender}", address(14)),
    }
}

/// What is no IP, or breaks off before it says so.
fn link_summary(head: &[u8]) -> String {
    let mac_at = |at: usize| {
        let bytes: Option<[u8; 6]> = head.get(at..at + 6).and_then(|it| it.try_into().ok());
        bytes.map_or_else(|| "?".to_owned(), mac)
    };
    let kind = head
        .get(12..14)
        .map_or(0, |it| u16::from_be_bytes([it[0], it[1]]));
    format!("{} > {}: ethertype 0x{kind:04x}", mac_at(6), mac_at(0))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use expect_test::expect;

    use super::*;
    use crate::bpf::{Direction, Outcome, Reason};

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let text = String::from_utf8(digits).unwrap();
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    const LINK: &str = "021122334455 0a0000000001 ";

    #[test]
    fn a_line_says_when_where_why_and_who() {
        let udp = "0800 4500001c 00004000 40110000 0a000909 0a00010b 13881770 00080000";
        let packet = Packet {
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(3_661_000_042),
            direction: Direction::Ingress,
            reason: Reason::DestinationMismatch,
            outcome: Outcome::Dropped,
            length: 1514,
            head: bytes(&format!("{LINK}{udp}")),
        };
        expect!["01:01:01.000042 eth1 ingress dropped destination_mismatch: 10.0.9.9.5000 > 10.0.1.11.6000: UDP, length 1514"]
            .assert_eq(&line("eth1", &packet, &TimeZone::UTC));
    }

    #[test]
    fn every_kind_of_packet_has_its_words() {
        let say = |rest: &str| summary(&bytes(&format!("{LINK}{rest}")));
        let ipv6 = |next: &str| {
            format!(
                "86dd 60000000 0018{next}40 26001f14000000090000000000000009 26001f14000000010000000000000011 "
            )
        };
        let said = [
            say("0806 0001080006040001 0a0000000001 0a000101 000000000000 0a00010a"),
            say("0806 0001080006040002 0a0000000001 0a000101 021122334455 0a00010a"),
            say(&format!("{}8700000000000000", ipv6("3a"))),
            say(&ipv6("59")),
            say(
                "0800 45000028 00004000 40060000 0a000909 0a00010b 0050c350 00000000 00000000 50020000 00000000",
            ),
            say("0800 4500001c 00002001 40110000 0a000909 0a00010b"),
            say("8100 00070800 4500"),
            say("88cc 0207"),
            say("0800 4500"),
        ];
        expect![[r#"
            ARP who has 10.0.1.10 tell 10.0.1.1 at 0a:00:00:00:00:01
            ARP 10.0.1.1 is at 0a:00:00:00:00:01
            2600:1f14:0:9::9 > 2600:1f14:0:1::11: ICMPv6 type 135
            2600:1f14:0:9::9 > 2600:1f14:0:1::11: protocol 89
            10.0.9.9.80 > 10.0.1.11.50000: TCP
            10.0.9.9 > 10.0.1.11: protocol 17
            0a:00:00:00:00:01 > 02:11:22:33:44:55: ethertype 0x8100
            0a:00:00:00:00:01 > 02:11:22:33:44:55: ethertype 0x88cc
            0a:00:00:00:00:01 > 02:11:22:33:44:55: ethertype 0x0800"#]]
        .assert_eq(&said.join("\n"));
        assert_eq!(summary(&[0; 5]), "no Ethernet header");
    }
}
