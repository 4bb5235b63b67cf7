//! What stacks say to each other when no test tells them to: it passes the guard, and what does not belong there does
//! not. Needs root.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use eniway_agent::bpf::{
    Bpf, Direction, Guard, Mode, Outcome, Reason, WantedIngress, bench::live::Source,
};
use etherparse::PacketBuilder;
use nix::net::if_::if_nametoindex;

use crate::bpf_world::{ENI, HOST, Namespace, OWN, STRANGER, World, guard, in_world, ip};

const PORT: u16 = 7100;
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x0a);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x14);
/// As long as nothing may come.
const SILENCE: Duration = Duration::from_millis(300);
const ENI_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
const HOST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x14];

fn guarded(world: &World, ingress: WantedIngress) -> Bpf {
    let mut bpf = Bpf::open(&world.bpffs.join("eniway")).unwrap();
    let own6 = format!("{OWN6}/128").parse().unwrap();
    let mut guard: Guard = guard(ingress, Mode::Enforce);
    guard.config.addresses.push(own6);
    bpf.attach(ENI, world.ifindex(), &guard).unwrap();
    bpf
}

fn counted(bpf: &Bpf, direction: Direction, reason: Reason, outcome: Outcome) -> u64 {
    let counts = bpf.counters(ENI).unwrap().into_iter();
    let counts =
        counts.filter(|it| (it.direction, it.reason, it.outcome) == (direction, reason, outcome));
    counts.map(|count| count.packets).sum()
}

fn dropped(bpf: &Bpf, reason: Reason) -> u64 {
    counted(bpf, Direction::Ingress, reason, Outcome::Dropped)
}

/// Sends a frame from the VPC.
fn inject(world: &World, frame: Vec<u8>) {
    world.on_host(move || {
        let mut source = Source::new(if_nametoindex("vpc0").unwrap()).unwrap();
        source.send(&frame, 1).unwrap();
    });
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..100 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

/// As much as many segments hold, and every byte tells where it stands.
fn text() -> Vec<u8> {
    (0..4_000_000_u32)
        .flat_map(|at| u16::to_be_bytes((at % 65_521) as u16))
        .collect()
}

/// One end sends, the other has it whole.
fn carried(mut from: TcpStream, mut to: TcpStream) {
    let sending = thread::spawn(move || from.write_all(&text()).unwrap());
    let mut received = Vec::new();
    to.read_to_end(&mut received).unwrap();
    sending.join().unwrap();
    assert!(received == text(), "{} bytes came", received.len());
}

fn tcp_flows(ingress: WantedIngress) {
    in_world(1500, move |world| {
        let bpf = guarded(world, ingress);
        for (listener, connector) in [(OWN, HOST), (HOST, OWN)] {
            let (listening, connecting) = match listener == OWN {
                true => {
                    let listening = TcpListener::bind((OWN, PORT)).unwrap();
                    let connected = world.on_host(|| TcpStream::connect((OWN, PORT)).unwrap());
                    (listening, connected)
                }
                false => {
                    let listening = world.on_host(|| TcpListener::bind((HOST, PORT)).unwrap());
                    (listening, TcpStream::connect((HOST, PORT)).unwrap())
                }
            };
            let (accepted, from) = listening.accept().unwrap();
            assert_eq!(from.ip(), IpAddr::from(connector));
            carried(connecting, accepted);
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            assert!(counted(&bpf, direction, Reason::Passed, Outcome::Passed) > 100);
        }
    });
}

#[test]
fn tcp_flows_whole_through_native_xdp() {
    tcp_flows(WantedIngress::XdpNative);
}

#[test]
fn tcp_flows_whole_through_traffic_control() {
    tcp_flows(WantedIngress::Tc);
}

#[test]
fn a_datagram_in_fragments_passes_and_one_for_another_does_not() {
    in_world(1500, |world| {
        let bpf = guarded(world, WantedIngress::XdpNative);
        let node = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        node.set_read_timeout(Some(SILENCE)).unwrap();
        let host = world.on_host(|| UdpSocket::bind((HOST, PORT)).unwrap());
        host.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let large = vec![7; 6000];
        let mut buffer = vec![0; 8000];
        host.send_to(&large, (STRANGER, PORT)).unwrap();
        assert!(node.recv(&mut buffer).is_err());
        assert!(
            dropped(&bpf, Reason::DestinationMismatch) >= 4,
            "each of them"
        );
        host.send_to(&large, (OWN, PORT)).unwrap();
        assert_eq!(node.recv(&mut buffer).unwrap(), 6000);
        node.send_to(&large, (HOST, PORT)).unwrap();
        assert_eq!(host.recv(&mut buffer).unwrap(), 6000);
    });
}

#[test]
fn neighbours_and_routers_of_ipv6_find_each_other() {
    in_world(1500, |world| {
        let bpf = guarded(world, WantedIngress::XdpNative);
        std::fs::write("/proc/sys/net/ipv6/conf/eni0/accept_ra", "2").unwrap();
        ip(&format!("addr add {OWN6}/64 dev eni0 nodad"));
        let host = world.on_host(|| {
            ip(&format!("addr add {HOST6}/64 dev vpc0 nodad"));
            UdpSocket::bind((HOST6, PORT)).unwrap()
        });
        let node = UdpSocket::bind((OWN6, PORT)).unwrap();
        for socket in [&host, &node] {
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
        }
        // Nobody has told them their neighbours.
        let mut buffer = [0; 8];
        host.send_to(b"ask", (OWN6, PORT)).unwrap();
        assert_eq!(node.recv(&mut buffer).unwrap(), 3);
        node.send_to(b"ok", (HOST6, PORT)).unwrap();
        assert_eq!(host.recv(&mut buffer).unwrap(), 2);

        // A router that is not on the link makes itself heard by nobody.
        inject(world, advertisement(64));
        until("it is dropped", || dropped(&bpf, Reason::NdHopLimit) == 1);
        assert!(!ip("-6 route show default").contains("proto ra"));
        inject(world, advertisement(255));
        until("the route is taken", || {
            ip("-6 route show default").contains("via fe80::14")
        });
    });
}

/// A router's, which gives no addresses (RFC 4861 §4.2).
fn advertisement(hop_limit: u8) -> Vec<u8> {
    let router: Ipv6Addr = "fe80::14".parse().unwrap();
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let builder = PacketBuilder::ethernet2(HOST_MAC, [0x33, 0x33, 0, 0, 0, 1]);
    let builder = builder.ipv6(router.octets(), all.octets(), hop_limit);
    // Hop limit 64, lifetime 1800 s.
    let builder = builder.icmpv6_raw(134, 0, [64, 0, 7, 8]);
    let mut body = vec![0; 8];
    body.extend([1, 1]);
    body.extend(HOST_MAC);
    let mut frame = Vec::new();
    builder.write(&mut frame, &body).unwrap();
    frame
}

#[test]
fn a_frame_with_a_vlan_tag_is_dropped() {
    in_world(1500, |world| {
        let bpf = guarded(world, WantedIngress::XdpNative);
        let builder = PacketBuilder::ethernet2(HOST_MAC, ENI_MAC)
            .single_vlan(7.try_into().unwrap())
            .ipv4(HOST.octets(), OWN.octets(), 64)
            .udp(PORT, PORT);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"tagged").unwrap();
        inject(world, frame);
        until("it is dropped", || dropped(&bpf, Reason::Vlan) == 1);
    });
}

#[test]
fn a_router_may_say_that_a_packet_is_too_large() {
    in_world(1500, |world| {
        let _bpf = guarded(world, WantedIngress::XdpNative);
        let far = Ipv4Addr::new(10, 0, 9, 9);
        ip(&format!("route add {far}/32 via {HOST}"));
        let sender = UdpSocket::bind((OWN, PORT)).unwrap();
        sender.connect((far, PORT)).unwrap();
        sender.send(&[0; 1400]).unwrap();
        let mut quoted = Vec::new();
        let builder = PacketBuilder::ipv4(OWN.octets(), far.octets(), 64).udp(PORT, PORT);
        builder.write(&mut quoted, &[0; 1400]).unwrap();
        quoted.truncate(28);
        let builder = PacketBuilder::ethernet2(HOST_MAC, ENI_MAC)
            .ipv4(HOST.octets(), OWN.octets(), 64)
            // Fragmentation needed, of 1280 bytes (RFC 1191 §4).
            .icmpv4_raw(3, 4, [0, 0, 5, 0]);
        let mut frame = Vec::new();
        builder.write(&mut frame, &quoted).unwrap();
        inject(world, frame);
        until("the way's MTU is known", || {
            ip(&format!("route get {far} from {OWN}")).contains("mtu 1280")
        });
    });
}

#[test]
fn a_child_with_a_mac_address_of_its_own_is_no_part_of_the_eni() {
    in_world(1500, |world| {
        let bpf = guarded(world, WantedIngress::XdpNative);
        let pod = Namespace::new();
        ip(&format!(
            "link add link eni0 name child address 02:00:00:00:00:99 netns {} type macvlan mode bridge",
            pod.process()
        ));
        pod.run(|| {
            ip("addr add 10.0.1.50/24 dev child");
            ip("link set child up");
            ip(&format!(
                "neigh add {HOST} lladdr 02:00:00:00:00:14 dev child"
            ));
            let socket = UdpSocket::bind(("10.0.1.50", PORT)).unwrap();
            // What the guard drops is an error to the sender, of whichever device.
            let _dropped = socket.send_to(b"lie", (HOST, PORT));
        });
        let left = counted(&bpf, Direction::Egress, Reason::SourceMac, Outcome::Dropped);
        assert!(left >= 1, "what it sends is dropped");
        world.on_host(|| {
            ip("neigh add 10.0.1.50 lladdr 02:00:00:00:00:99 dev vpc0");
        });
        world.host.send_to(b"lie", ("10.0.1.50", PORT)).unwrap();
        until("what is for it is dropped", || {
            dropped(&bpf, Reason::DestinationMac) >= 1
        });
    });
}
