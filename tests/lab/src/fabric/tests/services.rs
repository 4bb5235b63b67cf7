//! What the VPC itself answers: ARP, DHCP and neighbour discovery.

use std::net::Ipv6Addr;

use super::*;

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
