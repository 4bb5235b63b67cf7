//! A child of ipvlan's bears the ENI's own MAC address, so that addresses alone tell whose it is. Runs in virtual machines
//! (part `kernels`), whose kernels have ipvlan, which not every kernel has.

use std::{net::UdpSocket, time::Duration};

use eniway_agent::bpf::{Bpf, Direction, Mode, Outcome, Reason, WantedIngress};

use crate::bpf_world::{ENI, HOST, Namespace, World, guard, in_world, ip};

/// The ENI has it, and the child of its interface.
const CHILDS: &str = "10.0.1.12";
/// The child gave it to itself.
const STOLEN: &str = "10.0.1.51";
const PORT: u16 = 7000;

fn dropped(bpf: &Bpf, direction: Direction, reason: Reason) -> u64 {
    let counts = bpf.counters(ENI).unwrap().into_iter();
    let counts = counts.filter(|it| {
        (it.direction, it.reason, it.outcome) == (direction, reason, Outcome::Dropped)
    });
    counts.map(|count| count.packets).sum()
}

/// A namespace with a child of the ENI's interface.
fn pod() -> Namespace {
    let pod = Namespace::new();
    ip(&format!(
        "link add link eni0 name child netns {} type ipvlan mode l2",
        pod.process()
    ));
    pod.run(|| {
        ip("link set child up");
        for address in [CHILDS, STOLEN] {
            ip(&format!("addr add {address}/24 dev child"));
        }
        ip(&format!(
            "neigh add {HOST} lladdr 02:00:00:00:00:14 dev child"
        ));
    });
    pod
}

fn check(world: &World, ingress: WantedIngress) {
    let mut bpf = Bpf::open(&world.bpffs.join("eniway")).unwrap();
    let mut guard = guard(ingress, Mode::Enforce);
    guard
        .config
        .addresses
        .push(format!("{CHILDS}/32").parse().unwrap());
    bpf.attach(ENI, world.ifindex(), &guard).unwrap();
    let pod = pod();
    let child = pod.run(|| {
        let child = UdpSocket::bind((CHILDS, PORT)).unwrap();
        child
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        child.send_to(b"out", (HOST, PORT)).unwrap();
        let thief = UdpSocket::bind((STOLEN, PORT)).unwrap();
        // What the guard drops is an error to the sender.
        let _dropped = thief.send_to(b"lie", (HOST, PORT));
        child
    });
    let mut buffer = [0; 8];
    let (length, from) = world.host.recv_from(&mut buffer).unwrap();
    assert_eq!(
        (&buffer[..length], from.ip().to_string()),
        (&b"out"[..], CHILDS.to_owned())
    );
    assert!(dropped(&bpf, Direction::Egress, Reason::SourceMismatch) >= 1);

    world.on_host(|| {
        for address in [CHILDS, STOLEN] {
            ip(&format!(
                "neigh add {address} lladdr 02:00:00:00:00:0a dev vpc0"
            ));
        }
    });
    world.host.send_to(b"lie", (STOLEN, PORT)).unwrap();
    world.host.send_to(b"in", (CHILDS, PORT)).unwrap();
    let (length, _) = child.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"in");
    assert!(dropped(&bpf, Direction::Ingress, Reason::DestinationMismatch) >= 1);
}

#[test]
fn a_child_of_ipvlans_has_the_enis_addresses_and_no_others_behind_native_xdp() {
    in_world(1500, |world| check(world, WantedIngress::XdpNative));
}

#[test]
fn a_child_of_ipvlans_has_the_enis_addresses_and_no_others_behind_traffic_control() {
    in_world(1500, |world| check(world, WantedIngress::Tc));
}
