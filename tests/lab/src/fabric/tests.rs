//! Tables of frames and their fates, and what holds for any bytes at all.

mod any;
mod delivery;
mod services;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const A: &str = "eni-a";
const B: &str = "eni-b";
const C: &str = "eni-c";

fn port(name: &str) -> PortId {
    PortId(name.to_owned())
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn interface(name: &str, subnet: u8, last: u8) -> Interface {
    Interface {
        port: port(name),
        mac: mac(last),
        subnet: subnet.to_string(),
        ipv4: vec![Ipv4Addr::new(10, 0, subnet, last)],
        ipv4_prefixes: vec![format!("10.0.{subnet}.{}/28", 16 * last).parse().unwrap()],
        ipv6: vec![Ipv6Addr::new(
            0xfd00,
            0,
            0,
            u16::from(subnet),
            0,
            0,
            0,
            u16::from(last),
        )],
        ipv6_prefixes: Vec::new(),
        source_dest_check: true,
    }
}

fn subnet(number: u8) -> Subnet {
    Subnet {
        id: number.to_string(),
        ipv4: format!("10.0.{number}.0/24").parse().unwrap(),
        ipv6: format!("fd00:0:0:{number}::/64").parse().ok(),
    }
}

/// A and B share subnet 1; C is in subnet 2. All are plugged in.
fn fabric() -> Fabric {
    let mut fabric = Fabric::default();
    fabric.set_network(Network {
        subnets: vec![subnet(1), subnet(2)],
        interfaces: vec![interface(A, 1, 4), interface(B, 1, 5), interface(C, 2, 6)],
    });
    [A, B, C]
        .into_iter()
        .for_each(|name| fabric.plug(port(name)));
    fabric
}

/// An IPv4 packet of protocol 253, which RFC 3692 keeps for tests.
fn ipv4(source: [u8; 4], destination: [u8; 4], ttl: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, ttl, 253, 0, 0];
    packet.extend(source);
    packet.extend(destination);
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum);
    packet.extend([1, 2, 3, 4]);
    packet
}

fn frame(destination: Mac, source: Mac, protocol: u16, payload: &[u8]) -> Vec<u8> {
    Ethernet {
        destination,
        source,
        protocol,
    }
    .with(payload)
}

fn arp(operation: u8, sender_mac: Mac, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let packet = [
        &[0, 1, 8, 0, 6, 4, 0, operation][..],
        &sender_mac.0,
        &sender,
        &[0; 6],
        &target,
    ]
    .concat();
    frame(Mac::BROADCAST, sender_mac, ARP, &packet)
}

/// Sends from A; says why it ended and to whom something went.
#[track_caller]
fn check(mut fabric: Fabric, sent: &[u8], reason: Reason, receivers: &[&str]) -> Vec<Vec<u8>> {
    let out = fabric.frame(&port(A), sent);
    assert_eq!(
        fabric
            .counters()
            .keys()
            .map(|(_, reason)| *reason)
            .collect::<Vec<_>>(),
        [reason]
    );
    assert_eq!(
        out.iter().map(|(to, _)| to.0.as_str()).collect::<Vec<_>>(),
        receivers
    );
    out.into_iter().map(|(_, frame)| frame).collect()
}

const FROM_A: [u8; 4] = [10, 0, 1, 4];
const TO_B: [u8; 4] = [10, 0, 1, 5];
const TO_C: [u8; 4] = [10, 0, 2, 6];
