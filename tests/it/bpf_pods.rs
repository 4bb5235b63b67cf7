//! Pods that share an ENI, between real stacks; the node forwards nothing. Needs root.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use eniway_agent::bpf::{
    Bpf, Direction, Error, Guard, Mode, Outcome, PodInterface, Reason, WantedIngress,
};
use nix::net::if_::if_nametoindex;

use crate::bpf_world::{ENI, Namespace, World, guard, in_world, ip};

const PORT: u16 = 7000;
/// A host of the VPC, beyond the prefixes.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 20);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 1, 0, 0, 0x20);

/// The ENI has a prefix of each family for its pods.
fn with_prefixes(ingress: WantedIngress) -> Guard {
    let mut guard = guard(ingress, Mode::Enforce);
    let more = ["10.0.1.64/28", "2001:db8:1::/80"];
    let more = more.iter().map(|net| net.parse::<ipnet::IpNet>().unwrap());
    guard.config.addresses.extend(more);
    guard
}

fn open(world: &World) -> Bpf {
    // The VPC knows by which ENI an address is reached, and the node where the VPC is.
    ip("addr add 2001:db8:1::a/64 dev eni0 nodad");
    ip(&format!(
        "-6 neigh add {HOST6} lladdr 02:00:00:00:00:14 dev eni0"
    ));
    world.on_host(|| {
        ip(&format!("addr add {HOST6}/64 dev vpc0 nodad"));
        for number in 1..4 {
            for address in [v4(number), v6(number)] {
                let family = if address.is_ipv4() { "" } else { "-6 " };
                ip(&format!(
                    "{family}neigh add {address} lladdr 02:00:00:00:00:0a dev vpc0"
                ));
            }
        }
    });
    std::fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "0").unwrap();
    Bpf::open(&world.bpffs.join("eniway")).unwrap()
}

fn v4(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 1, 64 + number).into()
}

fn v6(number: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x40 + u16::from(number)).into()
}

/// A pod as the CNI plugin makes it.
struct Pod {
    namespace: Namespace,
    interface: PodInterface,
}

impl Pod {
    fn new(number: u8) -> Self {
        let namespace = Namespace::new();
        let (process, name) = (namespace.process(), format!("pod{number}"));
        ip(&format!(
            "link add {name} address 02:00:00:00:01:0{number} type veth peer name net1 \
             address 02:00:00:00:02:0{number} netns {process}"
        ));
        ip(&format!("link set {name} up"));
        namespace.run(|| {
            ip(&format!("addr add {}/32 dev net1", v4(number)));
            ip(&format!("addr add {}/128 dev net1 nodad", v6(number)));
            ip("link set net1 up");
            ip("link set lo up");
            for (family, gateway) in [("", "169.254.1.1"), ("-6 ", "fe80::1")] {
                ip(&format!(
                    "{family}neigh add {gateway} lladdr 02:00:00:00:01:0{number} dev net1"
                ));
                ip(&format!(
                    "{family}route add default via {gateway} dev net1 onlink"
                ));
            }
        });
        let interface = PodInterface {
            interface: if_nametoindex(name.as_str()).unwrap(),
            mac: [2, 0, 0, 0, 2, number],
            node_mac: [2, 0, 0, 0, 1, number],
            addresses: vec![v4(number), v6(number)],
        };
        Self {
            namespace,
            interface,
        }
    }

    fn socket(&self, address: IpAddr) -> UdpSocket {
        self.namespace.run(|| bound(address))
    }
}

fn bound(address: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address, PORT)).unwrap();
    let patience = Some(Duration::from_millis(500));
    socket.set_read_timeout(patience).unwrap();
    socket
}

fn hear(socket: &UdpSocket) -> Option<(String, SocketAddr)> {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    Some((text, from))
}

/// Asks from one end and answers from the other.
fn talk(asker: &UdpSocket, answerer: &UdpSocket, to: IpAddr) {
    let from = asker.local_addr().unwrap();
    asker.send_to(b"ask", (to, PORT)).unwrap();
    let (text, heard_from) = hear(answerer).expect("it is asked");
    assert_eq!((text.as_str(), heard_from), ("ask", from));
    answerer.send_to(b"answer", from).unwrap();
    let (text, heard_from) = hear(asker).expect("it is answered");
    assert_eq!(
        (text.as_str(), heard_from),
        ("answer", SocketAddr::new(to, PORT))
    );
}

fn counted(bpf: &Bpf, direction: Direction, reason: Reason, outcome: Outcome) -> u64 {
    let counts = bpf.counters(ENI).unwrap().into_iter();
    let counts =
        counts.filter(|it| (it.direction, it.reason, it.outcome) == (direction, reason, outcome));
    counts.map(|count| count.packets).sum()
}

fn shared_by_pods(ingress: WantedIngress) {
    in_world(1500, move |world| {
        let mut bpf = open(world);
        let guard = with_prefixes(ingress);
        bpf.attach(ENI, world.ifindex(), &guard).unwrap();
        let (one, two) = (Pod::new(1), Pod::new(2));
        bpf.add_pod(ENI, &one.interface).unwrap();
        bpf.add_pod(ENI, &two.interface).unwrap();
        let both = bpf.attached().unwrap().remove(0).pods;
        assert_eq!(both, [one.interface.clone(), two.interface.clone()]);

        let here = (one.socket(v4(1)), two.socket(v4(2)));
        let here6 = (one.socket(v6(1)), two.socket(v6(2)));
        let host6 = world.on_host(|| bound(HOST6.into()));
        talk(&world.host, &here.0, v4(1));
        talk(&here.1, &world.host, HOST.into());
        talk(&host6, &here6.0, v6(1));
        talk(&here6.1, &host6, HOST6.into());
        // From pod to pod, and to the node by the ENI's own address.
        talk(&here.0, &here.1, v4(2));
        talk(&here6.0, &here6.1, v6(2));
        here.0.send_to(b"node", ("10.0.1.10", PORT)).unwrap();
        assert_eq!(hear(&world.node).expect("the node hears").0, "node");
        let passed =
            |bpf: &Bpf, direction| counted(bpf, direction, Reason::Passed, Outcome::Passed);
        assert_eq!(passed(&bpf, Direction::ToPod), 4);
        assert_eq!(passed(&bpf, Direction::FromPod), 9);

        // A new agent takes them over under way.
        drop(bpf);
        let mut bpf = Bpf::open(&world.bpffs.join("eniway")).unwrap();
        bpf.attach(ENI, world.ifindex(), &guard).unwrap();
        talk(&world.host, &here.0, v4(1));
        assert_eq!(passed(&bpf, Direction::ToPod), 5);

        let taken = PodInterface {
            interface: world.ifindex(),
            ..two.interface.clone()
        };
        let error = bpf.add_pod(ENI, &taken).unwrap_err();
        assert!(matches!(error, Error::Taken { .. }), "{error}");

        // What is taken away is silent, and the other is not.
        bpf.remove_pod(ENI, one.interface.interface).unwrap();
        world.host.send_to(b"ask", (v4(1), PORT)).unwrap();
        assert_eq!(hear(&here.0), None);
        talk(&world.host, &here.1, v4(2));
        bpf.remove_pod(ENI, two.interface.interface).unwrap();
        bpf.remove_pod(ENI, two.interface.interface).unwrap();
        assert_eq!(bpf.attached().unwrap()[0].pods, []);
        bpf.detach(ENI).unwrap();
        assert_eq!(bpf.attached().unwrap(), []);
    });
}

#[test]
fn pods_share_an_eni_whose_guard_is_native_xdp() {
    shared_by_pods(WantedIngress::XdpNative);
}

#[test]
fn pods_share_an_eni_whose_guard_is_traffic_control() {
    shared_by_pods(WantedIngress::Tc);
}

/// An agent dies when the pod's end has its check and the pod no address yet: that is seen, and taken away.
#[test]
fn an_addition_that_was_cut_short_leaves_nothing_in_the_end() {
    in_world(1500, |world| {
        let mut bpf = open(world);
        let guard = with_prefixes(WantedIngress::XdpNative);
        bpf.attach(ENI, world.ifindex(), &guard).unwrap();
        let one = Pod::new(1);
        let interrupted = PodInterface {
            addresses: Vec::new(),
            ..one.interface.clone()
        };
        bpf.add_pod(ENI, &interrupted).unwrap();
        let there = bpf.attached().unwrap().remove(0).pods;
        let interfaces: Vec<u32> = there.iter().map(|pod| pod.interface).collect();
        assert_eq!(interfaces, [one.interface.interface]);
        bpf.remove_pod(ENI, one.interface.interface).unwrap();
        assert_eq!(bpf.attached().unwrap()[0].pods, []);
        let links = world.bpffs.join("eniway/links").join(ENI);
        let left = std::fs::read_dir(links).unwrap().count();
        assert_eq!(left, 2, "those of the guard");
    });
}

/// An agent of another release has other maps: the guard and the pods go over to them, and nobody notices.
#[test]
fn maps_of_another_layout_are_taken_over_under_way() {
    in_world(1500, |world| {
        let mut bpf = open(world);
        let guard = with_prefixes(WantedIngress::XdpNative);
        bpf.attach(ENI, world.ifindex(), &guard).unwrap();
        let one = Pod::new(1);
        bpf.add_pod(ENI, &one.interface).unwrap();
        drop(bpf);
        let maps = world.bpffs.join("eniway/maps");
        let now = std::fs::read_dir(&maps).unwrap().next().unwrap().unwrap();
        std::fs::rename(now.path(), maps.join("v999")).unwrap();

        let ping = |count: &'static str| {
            world.on_host(move || {
                std::process::Command::new("ping")
                    .args(["-i", "0.01", "-c", count, "-W", "2", "10.0.1.65"])
                    .stdout(std::process::Stdio::piped())
                    .spawn()
                    .unwrap()
            })
        };
        let mut meanwhile = ping("200");
        let mut bpf = Bpf::open(&world.bpffs.join("eniway")).unwrap();
        bpf.attach(ENI, world.ifindex(), &guard).unwrap();
        let there = bpf.attached().unwrap().remove(0).pods;
        assert_eq!(there.as_slice(), std::slice::from_ref(&one.interface));
        let mut said = String::new();
        std::io::Read::read_to_string(meanwhile.stdout.as_mut().unwrap(), &mut said).unwrap();
        meanwhile.wait().unwrap();
        assert!(said.contains("200 received"), "{said}");
        // They may all have come before it was taken over.
        assert!(ping("1").wait().unwrap().success());
        assert!(!maps.join("v999").join(ENI).exists());
        assert!(counted(&bpf, Direction::ToPod, Reason::Passed, Outcome::Passed) > 0);
    });
}

#[test]
fn a_pod_sends_from_its_own_addresses_and_no_others() {
    in_world(1500, |world| {
        let mut bpf = open(world);
        let guard = with_prefixes(WantedIngress::XdpNative);
        bpf.attach(ENI, world.ifindex(), &guard).unwrap();
        let (one, two) = (Pod::new(1), Pod::new(2));
        bpf.add_pod(ENI, &one.interface).unwrap();
        bpf.add_pod(ENI, &two.interface).unwrap();
        let dropped =
            |bpf: &Bpf, reason| counted(bpf, Direction::FromPod, reason, Outcome::Dropped);

        // As the other pod, as the node, as nobody; of either family.
        let lies = ["10.0.1.66", "10.0.1.10", "10.0.1.67", "192.0.2.1"];
        let lies6 = ["2001:db8:1::42", "2001:db8:1::a", "2001:db8:ffff::1"];
        one.namespace.run(|| {
            for (lie, to) in lies
                .iter()
                .map(|lie| (lie, IpAddr::from(HOST)))
                .chain(lies6.iter().map(|lie| (lie, IpAddr::from(HOST6))))
            {
                let (family, length) = if to.is_ipv4() { ("", 32) } else { ("-6 ", 128) };
                let nodad = if to.is_ipv4() { "" } else { " nodad" };
                ip(&format!("{family}addr add {lie}/{length} dev net1{nodad}"));
                let socket = bound(lie.parse().unwrap());
                let sent = socket.send_to(b"lie", (to, PORT));
                assert!(sent.is_ok(), "a veth swallows what its other end drops");
            }
        });
        assert_eq!(hear(&world.host), None);
        assert_eq!(dropped(&bpf, Reason::SourceMismatch), 7);

        // With its own address and another MAC.
        one.namespace.run(|| {
            for (mac, text) in [(2, "lie"), (1, "true")] {
                ip(&format!("link set net1 address 02:00:00:00:02:0{mac}"));
                // It forgets its neighbours with its own address.
                ip("neigh replace 169.254.1.1 lladdr 02:00:00:00:01:01 dev net1");
                let socket = bound(v4(1));
                socket.send_to(text.as_bytes(), (HOST, PORT)).unwrap();
            }
        });
        assert_eq!(hear(&world.host).unwrap().0, "true");
        assert_eq!(dropped(&bpf, Reason::SourceMac), 1);

        // Under Audit, and without a guard at all, pods are kept apart as before.
        for mode in [Mode::Audit, Mode::Off] {
            let config = eniway_agent::bpf::GuardConfig {
                mode,
                ..guard.config.clone()
            };
            bpf.configure(ENI, &config).unwrap();
            one.namespace.run(|| {
                let other = bound("10.0.1.66".parse().unwrap());
                other.send_to(b"lie", (HOST, PORT)).unwrap();
            });
            assert_eq!(hear(&world.host), None);
        }
    });
}
