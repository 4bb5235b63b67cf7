//! Steering rules on real interfaces, between real stacks.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    process::Command,
    time::Duration,
};

use eniway_agent::bpf::{
    Bpf, Direction, Guard, IngressMode, Mode, Outcome, Reason, WantedIngress,
    steering::{Action, Rule},
};
use nix::net::if_::if_nametoindex;

use super::any;
use crate::bpf_world::{ENI, Namespace, OWN, World, guard, in_world, ip};

/// Where a redirected packet goes.
const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 20);
/// The node's address there.
const OUT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x20);
const OUT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x10);
const OTHER_ENI: &str = "eni-0000000000000002";
const PORT: u16 = 7000;

fn with(rules: Vec<Rule>, source_dest_check: bool) -> Guard {
    let mut guard = guard(WantedIngress::XdpNative, Mode::Enforce);
    guard.config.source_dest_check = source_dest_check;
    Guard {
        steering: rules,
        ..guard
    }
}

fn open(world: &World) -> Bpf {
    Bpf::open(&world.bpffs.join("eniway")).unwrap()
}

/// Without it a veth carries sums that nobody has computed, and what is made of a bare frame is believed to
/// be broken. A wire has them.
fn like_a_wire(world: &World) {
    world.on_host(|| ethtool("vpc0", "tx off"));
}

fn ethtool(interface: &str, features: &str) {
    let set = Command::new("ethtool")
        .args(["-K", interface])
        .args(features.split(' '))
        .output();
    let set = set.expect("ethtool is installed");
    assert!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
}

/// Attached as was wanted.
fn attach(bpf: &mut Bpf, world: &World, guard: &Guard) {
    let report = bpf.attach(ENI, world.ifindex(), guard).unwrap();
    assert_eq!(report.mode, IngressMode::XdpNative, "{report:?}");
}

fn hits(bpf: &Bpf) -> Vec<u64> {
    let rules = bpf.steered(ENI).unwrap().into_iter();
    rules.map(|rule| rule.counter.packets).collect()
}

#[test]
fn rules_drop_and_pass_and_are_replaced_under_way() {
    in_world(1500, |world| {
        let mut bpf = open(world);
        let drop = Rule {
            source: Some("10.0.1.20/32".parse().unwrap()),
            protocol: Some(17),
            destination_ports: vec![PORT..=PORT],
            ..any(Action::Drop)
        };
        attach(&mut bpf, world, &with(vec![drop.clone()], true));
        world.send_to(OWN, "dropped");
        // A set of rules is replaced as a whole: first the packet passes by another rule, then by none.
        attach(&mut bpf, world, &with(vec![any(Action::Pass), drop], true));
        assert_eq!(world.arriving(), ["own"], "the first one is gone");
        assert_eq!(
            hits(&bpf),
            [1, 0],
            "strangers break the check and are not steered"
        );
        attach(&mut bpf, world, &with(Vec::new(), true));
        assert_eq!(world.arriving(), ["own"]);
        assert_eq!(bpf.steered(ENI).unwrap(), []);
        let dropped = |count: &&eniway_agent::bpf::Count| count.reason == Reason::Steering;
        let counts = bpf.counters(ENI).unwrap();
        let dropped = counts.iter().find(dropped).expect("it was counted");
        assert_eq!((dropped.packets, dropped.outcome), (1, Outcome::Dropped));
    });
}

#[test]
fn another_cpu_takes_what_the_rule_gives_it() {
    in_world(1500, |world| {
        like_a_wire(world);
        let mut bpf = open(world);
        attach(
            &mut bpf,
            world,
            &with(vec![any(Action::Cpu(vec![0]))], true),
        );
        assert_eq!(world.arriving(), ["own"]);
        assert_eq!(hits(&bpf), [1]);
    });
}

#[test]
fn without_a_socket_the_stack_has_the_packet() {
    in_world(1500, |world| {
        let mut bpf = open(world);
        let socket = any(Action::Socket([0].into()));
        attach(&mut bpf, world, &with(vec![socket], true));
        assert_eq!(world.arriving(), ["own"]);
        assert_eq!(hits(&bpf), [1]);
    });
}

/// A network behind another interface of the node.
struct Far {
    socket: UdpSocket,
    socket6: UdpSocket,
    _namespace: Namespace,
}

impl Far {
    /// `napi`: its end of the veth takes packets from XDP.
    fn new(napi: bool) -> Self {
        let namespace = Namespace::new();
        let process = namespace.process();
        ip(&format!(
            "link add out0 address 02:00:00:00:02:0a type veth peer name far0 \
             address 02:00:00:00:02:14 netns {process}"
        ));
        ip(&format!("addr add {OUT}/24 dev out0"));
        ip(&format!("addr add {OUT6}/64 dev out0 nodad"));
        ip("link set out0 up");
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1").unwrap();
        let socket = namespace.run(|| {
            ip(&format!("addr add {FAR}/24 dev far0"));
            ip("link set far0 up");
            ip(&format!(
                "neigh add {OUT} lladdr 02:00:00:00:02:0a dev far0"
            ));
            if napi {
                ethtool("far0", "gro on");
            }
            ip(&format!("addr add {FAR6}/64 dev far0 nodad"));
            let sockets = [IpAddr::from(FAR), IpAddr::from(FAR6)];
            sockets.map(|address| {
                let socket = UdpSocket::bind((address, PORT)).unwrap();
                let patience = Some(Duration::from_secs(2));
                socket.set_read_timeout(patience).unwrap();
                socket
            })
        });
        let [socket, socket6] = socket;
        Self {
            socket,
            socket6,
            _namespace: namespace,
        }
    }

    fn hear(&self) -> Option<String> {
        hear(&self.socket)
    }
}

fn hear(socket: &UdpSocket) -> Option<String> {
    let mut buffer = [0; 2048];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Packets that the stack has forwarded.
fn forwarded() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Ip:"));
    let names = lines.next().unwrap().split_whitespace();
    let values = lines.next().unwrap().split_whitespace();
    let mut both = names.zip(values);
    both.find(|(name, _)| *name == "ForwDatagrams")
        .unwrap()
        .1
        .parse()
        .unwrap()
}

fn to_far(world: &World, text: &str) {
    world.on_host(|| ip(&format!("route replace {FAR} via {OWN}")));
    world.host.send_to(text.as_bytes(), (FAR, PORT)).unwrap();
}

#[test]
fn a_packet_is_redirected_by_the_routing_table_without_the_stack() {
    in_world(1500, |world| {
        like_a_wire(world);
        let far = Far::new(true);
        let mut bpf = open(world);
        let out = if_nametoindex("out0").unwrap();
        let redirect = Rule {
            destination: Some("10.0.2.0/24".parse().unwrap()),
            ..any(Action::Redirect(out))
        };
        attach(&mut bpf, world, &with(vec![redirect.clone()], false));
        // Nobody knows the neighbour yet: the stack asks, and forwards.
        to_far(world, "first");
        assert_eq!(far.hear().as_deref(), Some("first"));
        let before = forwarded();
        assert_eq!(before, 1);
        for number in 0..100 {
            to_far(world, &format!("{number}"));
            assert_eq!(far.hear(), Some(number.to_string()));
        }
        assert_eq!(forwarded(), before, "the stack has seen none");
        assert_eq!(hits(&bpf), [101]);

        // A packet at the end of its life is the stack's, which tells its sender.
        world.host.set_ttl(1).unwrap();
        to_far(world, "old");
        assert_eq!(far.hear(), None);
        world.host.set_ttl(2).unwrap();
        let _unreachable = world.host.take_error();
        to_far(world, "just so");
        assert_eq!(far.hear().as_deref(), Some("just so"));
        assert_eq!(forwarded(), before);

        // Out of another interface than the routing table says: the stack decides.
        let lo = if_nametoindex("lo").unwrap();
        let elsewhere = Rule {
            action: Action::Redirect(lo),
            ..redirect
        };
        attach(&mut bpf, world, &with(vec![elsewhere], false));
        to_far(world, "routed");
        assert_eq!(far.hear().as_deref(), Some("routed"));
        assert_eq!(forwarded(), before + 1);
    });
}

#[test]
fn a_packet_that_is_too_large_for_the_way_is_the_stacks() {
    in_world(1500, |world| {
        like_a_wire(world);
        let far = Far::new(true);
        let mut bpf = open(world);
        let out = if_nametoindex("out0").unwrap();
        attach(
            &mut bpf,
            world,
            &with(vec![any(Action::Redirect(out))], false),
        );
        ip(&format!(
            "neigh replace {FAR} lladdr 02:00:00:00:02:14 dev out0"
        ));
        ip("link set out0 mtu 1280");
        let (small, large) = ("s".repeat(1200), "l".repeat(1400));
        to_far(world, &small);
        assert_eq!(far.hear(), Some(small));
        assert_eq!(forwarded(), 0);
        // A datagram may be cut whose sender does not look for the way's MTU.
        let sender = world.on_host(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_no_pmtu_disc", "1").unwrap();
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT + 1)).unwrap()
        });
        sender.send_to(large.as_bytes(), (FAR, PORT)).unwrap();
        assert_eq!(far.hear(), Some(large), "the stack has cut it");
        assert_eq!(forwarded(), 1);
    });
}

#[test]
fn ipv6_is_redirected_too_and_ages() {
    in_world(1500, |world| {
        like_a_wire(world);
        let far = Far::new(true);
        let mut bpf = open(world);
        ip("addr add 2001:db8:1::a/64 dev eni0 nodad");
        ip(&format!(
            "-6 neigh replace {FAR6} lladdr 02:00:00:00:02:14 dev out0"
        ));
        let out = if_nametoindex("out0").unwrap();
        let redirect = Rule {
            destination: Some("2001:db8:2::/64".parse().unwrap()),
            ..any(Action::Redirect(out))
        };
        attach(&mut bpf, world, &with(vec![redirect], false));
        let sender = world.on_host(|| {
            ip("addr add 2001:db8:1::14/64 dev vpc0 nodad");
            ip("-6 neigh add 2001:db8:1::a lladdr 02:00:00:00:00:0a dev vpc0");
            ip("-6 route add 2001:db8:2::/64 via 2001:db8:1::a");
            UdpSocket::bind((IpAddr::from(Ipv6Addr::UNSPECIFIED), PORT + 1)).unwrap()
        });
        let before = forwarded6();
        sender.send_to(b"sixth", (FAR6, PORT)).unwrap();
        assert_eq!(hear(&far.socket6).as_deref(), Some("sixth"));
        assert_eq!((hits(&bpf), forwarded6() - before), (vec![1], 0));
        // One that may pass no other router is the stack's, which says so to its sender.
        world.on_host(|| ip("-6 route replace 2001:db8:2::/64 via 2001:db8:1::a hoplimit 1"));
        sender.send_to(b"old", (FAR6, PORT)).unwrap();
        assert_eq!(hear(&far.socket6), None);
    });
}

fn forwarded6() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("Ip6OutForwDatagrams"));
    let count = line.unwrap().split_whitespace().nth(1);
    count.unwrap().parse().unwrap()
}

#[test]
fn what_is_redirected_out_of_an_eni_is_checked_there() {
    in_world(1500, |world| {
        like_a_wire(world);
        let far = Far::new(true);
        let mut bpf = open(world);
        let out = if_nametoindex("out0").unwrap();
        let mut other = guard(WantedIngress::XdpNative, Mode::Enforce);
        other.config.mac = [0x02, 0, 0, 0, 0x02, 0x0a];
        other.config.addresses = vec!["10.0.2.10/32".parse().unwrap()];
        other.config.subnets = vec!["10.0.2.0/24".parse().unwrap()];
        bpf.attach(OTHER_ENI, out, &other).unwrap();
        ip(&format!(
            "neigh replace {FAR} lladdr 02:00:00:00:02:14 dev out0"
        ));
        attach(
            &mut bpf,
            world,
            &with(vec![any(Action::Redirect(out))], false),
        );
        to_far(world, "from a stranger");
        assert_eq!(far.hear(), None, "the address is not that ENI's");
        let counts = bpf.counters(OTHER_ENI).unwrap();
        let dropped = counts.iter().find(|count| {
            count.direction == Direction::Egress && count.reason == Reason::SourceMismatch
        });
        assert_eq!(dropped.expect("it was counted").packets, 1);
        // Settings are changed in the maps, which its programs share.
        other.config.source_dest_check = false;
        bpf.configure(OTHER_ENI, &other.config).unwrap();
        to_far(world, "from a stranger");
        assert_eq!(far.hear().as_deref(), Some("from a stranger"));
        assert_eq!(forwarded(), 0);
    });
}
