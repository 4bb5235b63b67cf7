//! Which frames reach whom, and why others do not.

use super::*;

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
