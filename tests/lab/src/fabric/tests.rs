//! Tables of frames and their fates, and what holds for any bytes at all.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

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

#[test]
fn a_neighbour_gets_the_frame_as_it_was() {
    let sent = frame(mac(5), mac(4), IPV4, &ipv4(FROM_A, TO_B, 64));
    assert_eq!(check(fabric(), &sent, Reason::Delivered, &[B]), [sent]);
}

#[test]
fn the_router_takes_a_hop_and_puts_on_new_mac_addresses() {
    let sent = frame(
        subnet(1).router_mac(),
        mac(4),
        IPV4,
        &ipv4(FROM_A, TO_C, 64),
    );
    let routed = frame(
        mac(6),
        subnet(2).router_mac(),
        IPV4,
        &ipv4(FROM_A, TO_C, 63),
    );
    assert_eq!(check(fabric(), &sent, Reason::Delivered, &[C]), [routed]);
}

#[test]
fn a_packet_with_no_hop_left_expires_at_the_router() {
    let sent = frame(subnet(1).router_mac(), mac(4), IPV4, &ipv4(FROM_A, TO_C, 1));
    check(fabric(), &sent, Reason::Expired, &[]);
}

#[test]
fn an_address_of_a_prefix_is_the_interfaces_own() {
    let own = [10, 0, 1, 70];
    let theirs = [10, 0, 1, 85];
    check(
        fabric(),
        &frame(mac(5), mac(4), IPV4, &ipv4(own, theirs, 64)),
        Reason::Delivered,
        &[B],
    );
}

#[test]
fn spoofed_sources_are_stopped() {
    let packet = ipv4([10, 0, 1, 9], TO_B, 64);
    check(
        fabric(),
        &frame(mac(5), mac(4), IPV4, &packet),
        Reason::SourceAddress,
        &[],
    );
    check(
        fabric(),
        &frame(mac(5), mac(9), IPV4, &ipv4(FROM_A, TO_B, 64)),
        Reason::SourceMac,
        &[],
    );
}

#[test]
fn a_destination_that_is_not_the_receivers_is_stopped() {
    let packet = ipv4(FROM_A, [10, 0, 1, 9], 64);
    check(
        fabric(),
        &frame(mac(5), mac(4), IPV4, &packet),
        Reason::DestinationAddress,
        &[],
    );
}

#[test]
fn without_the_check_addresses_do_not_matter_but_the_mac_address_does() {
    let mut open = fabric();
    let mut network = open.network.clone();
    network
        .interfaces
        .iter_mut()
        .for_each(|interface| interface.source_dest_check = false);
    open.set_network(network);
    let packet = ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    check(
        open.clone(),
        &frame(mac(5), mac(4), IPV4, &packet),
        Reason::Delivered,
        &[B],
    );
    check(
        open,
        &frame(mac(5), mac(9), IPV4, &packet),
        Reason::SourceMac,
        &[],
    );
}

#[test]
fn unknown_destinations_are_stopped() {
    let to_nobody = ipv4(FROM_A, [10, 0, 2, 200], 64);
    check(
        fabric(),
        &frame(subnet(1).router_mac(), mac(4), IPV4, &to_nobody),
        Reason::UnknownDestination,
        &[],
    );
    check(
        fabric(),
        &frame(mac(99), mac(4), IPV4, &ipv4(FROM_A, TO_B, 64)),
        Reason::UnknownDestination,
        &[],
    );
    // C's MAC address is in another subnet.
    check(
        fabric(),
        &frame(mac(6), mac(4), IPV4, &ipv4(FROM_A, TO_C, 64)),
        Reason::UnknownDestination,
        &[],
    );
}

#[test]
fn an_interface_without_a_cable_gets_nothing() {
    let mut fabric = fabric();
    fabric.unplug(&port(B));
    check(
        fabric,
        &frame(mac(5), mac(4), IPV4, &ipv4(FROM_A, TO_B, 64)),
        Reason::NotPlugged,
        &[],
    );
}

#[test]
fn broadcast_tags_and_other_protocols_are_stopped() {
    let to_all = frame(
        Mac::BROADCAST,
        mac(4),
        IPV4,
        &ipv4(FROM_A, [10, 0, 1, 255], 64),
    );
    check(fabric(), &to_all, Reason::Multicast, &[]);
    check(
        fabric(),
        &frame(mac(5), mac(4), VLAN, &[0; 46]),
        Reason::Vlan,
        &[],
    );
    check(
        fabric(),
        &frame(mac(5), mac(4), 0x88cc, &[0; 46]),
        Reason::Protocol,
        &[],
    );
    check(fabric(), &[0; 13], Reason::Malformed, &[]);
}

#[test]
fn arp_is_answered_for_the_router_and_for_neighbours_only() {
    for (target, answer) in [([10, 0, 1, 1], subnet(1).router_mac()), (TO_B, mac(5))] {
        let replies = check(
            fabric(),
            &arp(1, mac(4), FROM_A, target),
            Reason::Answered,
            &[A],
        );
        assert_eq!(
            Mac(array(&replies[0], ETHERNET_HEADER + 8).unwrap()),
            answer
        );
        assert_eq!(array(&replies[0], ETHERNET_HEADER + 14), Some(target));
    }
    check(
        fabric(),
        &arp(1, mac(4), FROM_A, TO_C),
        Reason::UnknownDestination,
        &[],
    );
    check(
        fabric(),
        &arp(1, mac(4), FROM_A, FROM_A),
        Reason::Absorbed,
        &[],
    );
    check(
        fabric(),
        &arp(1, mac(4), TO_B, [10, 0, 1, 1]),
        Reason::NeighbourSpoof,
        &[],
    );
}

#[test]
fn dhcp_offers_the_primary_address() {
    let mut message = vec![0; 240];
    message[0] = 1;
    message[28..34].copy_from_slice(&mac(4).0);
    message[236..240].copy_from_slice(&[99, 130, 83, 99]);
    message.extend([53, 1, 1, 255]);
    let udp = [&[0, 68, 0, 67, 0, 252, 0, 0][..], &message].concat();
    let mut packet = vec![
        0x45, 0, 1, 16, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255,
    ];
    packet.extend(udp);
    let sent = frame(Mac::BROADCAST, mac(4), IPV4, &packet);
    let replies = check(fabric(), &sent, Reason::Answered, &[A]);
    let offered = ETHERNET_HEADER + 20 + 8 + 16;
    assert_eq!(array(&replies[0], offered), Some(FROM_A));
}

#[test]
fn neighbour_discovery_is_answered_for_the_router() {
    let own: Ipv6Addr = "fd00:0:0:1::4".parse().unwrap();
    let router: Ipv6Addr = "fe80:ec2::1".parse().unwrap();
    let group: Ipv6Addr = "ff02::1:ff00:1".parse().unwrap();
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &router.octets()].concat();
    let packet = [
        &[0x60, 0, 0, 0, 0, 24, 58, 255][..],
        &own.octets(),
        &group.octets(),
        &solicitation,
    ]
    .concat();
    let sent = frame(Mac([0x33, 0x33, 0xff, 0, 0, 1]), mac(4), IPV6, &packet);
    let replies = check(fabric(), &sent, Reason::Answered, &[A]);
    assert!(replies[0].ends_with(&subnet(1).router_mac().0));
    // The sum over the pseudo header, the message and its checksum is zero.
    let answer = &replies[0][ETHERNET_HEADER..];
    assert_eq!(
        checksum(&[&answer[8..40], &[0, 0, 0, 32, 0, 0, 0, 58], &answer[40..]]),
        [0, 0]
    );
}

proptest! {
    /// Whatever A sends, nobody gets anything that does not come from A or from the VPC.
    #[test]
    fn any_bytes_end_in_one_counter_and_never_carry_a_foreign_source(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        protocol in prop_oneof![Just(ARP), Just(IPV4), Just(IPV6), any::<u16>()],
        to in prop_oneof![Just(mac(5)), Just(Mac([2, 0xec, 10, 0, 1, 0])), Just(Mac::BROADCAST)],
    ) {
        let mut fabric = fabric();
        let out = fabric.frame(&port(A), &frame(to, mac(4), protocol, &bytes));
        prop_assert_eq!(fabric.counters().values().sum::<u64>(), 1);
        for (receiver, frame) in out {
            if receiver != port(A) {
                prop_assert!(matches!(protocol, IPV4 | IPV6), "only IP is carried");
                let source: Option<[u8; 4]> = array(&frame, ETHERNET_HEADER + 12);
                prop_assert!(protocol == IPV6 || source.is_some_and(|source| interface(A, 1, 4).has4(source.into())));
            }
        }
    }

    /// A frame to a neighbour arrives only if both ends own their addresses.
    #[test]
    fn delivery_needs_both_addresses(source in any::<u8>(), destination in any::<u8>()) {
        let mut fabric = fabric();
        let packet = ipv4([10, 0, 1, source], [10, 0, 1, destination], 64);
        let out = fabric.frame(&port(A), &frame(mac(5), mac(4), IPV4, &packet));
        let owned = |name, last: u8, address: u8| interface(name, 1, last).has4(Ipv4Addr::new(10, 0, 1, address));
        prop_assert_eq!(!out.is_empty(), owned(A, 4, source) && owned(B, 5, destination));
    }
}
