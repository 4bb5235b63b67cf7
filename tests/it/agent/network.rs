//! Names, addresses and routes of the node, in the kernel. Needs root.

use serde_json::{Value, json};

use super::ENI;
use crate::agent_node::{AgentNode, Eni};

const OTHER: Eni = Eni(11);
/// Somewhere beyond the subnet's router.
const FAR: &str = "203.0.113.1";
const FAR6: &str = "2001:db8:f::1";

/// Two interfaces in one subnet, whose router and the world behind it are the VPC's namespace.
fn two_interfaces(interface: &Value) -> AgentNode {
    let node = AgentNode::start();
    node.vpc(&format!("ip address add {FAR}/32 dev lo"));
    node.vpc(&format!("ip -6 address add {FAR6}/128 dev lo"));
    node.vpc("ip link set lo up");
    for eni in [ENI, OTHER] {
        node.plug(eni);
        let far = format!("vpc{}", eni.0);
        node.vpc(&format!("ip address add 10.200.101.1/32 dev {far}"));
        node.vpc(&format!("ip -6 address add fe80:ec2::1/64 dev {far} nodad"));
        node.vpc(&format!("ip route add {} dev {far}", eni.address()));
        node.vpc(&format!("ip -6 route add {} dev {far}", address6(eni)));
        node.record(eni, &json!({"xdp": "Native", "enforcement": "Enforce"}));
        node.patch(eni, &json!({"spec": {"interface": interface}}), &[]);
        answer(
            &node,
            eni,
            &[
                &format!("{}/32", eni.address()),
                &format!("{}/128", address6(eni)),
            ],
        );
    }
    node
}

fn address6(eni: Eni) -> String {
    format!("2001:db8:101::{}", eni.0)
}

fn answer(node: &AgentNode, eni: Eni, addresses: &[&str]) {
    let ec2 =
        json!({"subnetCIDRs": ["10.200.101.0/24", "2001:db8:101::/64"], "addresses": addresses});
    node.patch(
        eni,
        &json!({"status": {"ec2": ec2}}),
        &["--subresource=status"],
    );
}

/// Whether the far end gets an answer to what it sends from beyond the router.
fn answers_afar(node: &AgentNode, address: &str) -> bool {
    let from = if address.contains(':') { FAR6 } else { FAR };
    let ping = format!("netns exec vpc ping -c1 -W1 -I {from} {address}");
    let ping = node.node.command("ip").args(ping.split(' '));
    ping.output().unwrap().status.success()
}

fn sysctl(node: &AgentNode, name: &str) -> String {
    let path = format!("/proc/sys/net/{name}");
    let text = node.node.command("cat").arg(&path).read().unwrap();
    text.trim().to_owned()
}

fn set_sysctl(node: &AgentNode, name: &str, value: &str) {
    let write = format!("echo {value} > /proc/sys/net/{name}");
    node.node.command("sh").args(["-c", &write]).read().unwrap();
}

#[test]
fn two_interfaces_of_one_subnet_answer_from_where_they_were_asked() {
    let mut node = two_interfaces(&json!({"name": "fast", "addressing": "Host"}));
    node.patch(
        OTHER,
        &json!({"spec": {"interface": {"name": "fast-1"}}}),
        &[],
    );
    let main = node.ip("route show table main");
    node.start_agent(&[]);
    for eni in [ENI, OTHER] {
        node.wait_phase(eni, "Ready");
    }
    for eni in [ENI, OTHER] {
        node.wait_until("it answers from afar", |node| {
            answers_afar(node, &eni.address())
        });
        node.wait_until("it answers IPv6", |node| answers_afar(node, &address6(eni)));
        // What the node sends from the address goes by the interface, although its own route leads elsewhere.
        node.ip(&format!(
            "netns exec vpc ping -c1 -W2 -I {FAR} {}",
            eni.address()
        ));
        let route = node.ip(&format!("route get {FAR} from {}", eni.address()));
        assert!(
            route.contains(&format!("via 10.200.101.1 dev {}", eni.name())),
            "{route}"
        );
        assert_eq!(
            node.packets(eni, &["egress", "dropped"]),
            0,
            "nothing left by the wrong one"
        );
    }
    assert_eq!(
        node.ip("route show table main"),
        main,
        "the node's own routes are as they were"
    );
    assert!(node.ip("link show dev fast").contains("eth10"));
    assert!(node.ip("link show dev fast-1").contains("eth11"));

    // ARP is answered by the interface that has the address, and by no other.
    node.vpc("ip address add 10.200.101.200/24 dev vpc10");
    let asks = |address: &str| {
        let arping = format!("netns exec vpc busybox arping -c1 -w1 -I vpc10 {address}");
        let arping = node.node.command("ip").args(arping.split(' '));
        arping.output().unwrap().status.success()
    };
    assert!(asks("10.200.101.10"));
    assert!(!asks("10.200.101.11"), "another interface's address");

    // Another name takes the place of the first, also of one that an agent before this one gave.
    node.kill_agent();
    node.patch(ENI, &json!({"spec": {"interface": {"name": "quick"}}}), &[]);
    node.start_agent(&[]);
    node.wait_until("the name has changed", |node| {
        let link = node.ip("link show dev eth10");
        link.contains("altname quick") && !link.contains("altname fast")
    });
    assert!(node.stop_agent().success());
}

#[test]
fn what_somebody_takes_away_comes_back_and_a_release_leaves_nothing() {
    let mut node =
        two_interfaces(&json!({"name": "fast", "addressing": "Host", "rpFilter": "Strict"}));
    node.delete(OTHER);
    set_sysctl(&node, "ipv4/conf/eth10/rp_filter", "0");
    set_sysctl(&node, "ipv4/conf/all/rp_filter", "0");
    let before = node.ip("-details link show eth10");
    node.start_agent(&[]);
    node.wait_phase(ENI, "Ready");
    let whole = |node: &AgentNode| {
        let rules = node.ip("rule list");
        answers_afar(node, "10.200.101.10")
            && rules.contains("from 10.200.101.10 lookup 20001")
            && sysctl(node, "ipv4/conf/eth10/rp_filter") == "1"
    };
    node.wait_until("all is there", whole);
    assert_eq!(sysctl(&node, "ipv6/conf/eth10/accept_ra"), "0");

    // Somebody's own address and rule stay; ours come back.
    node.ip("rule add from 192.0.2.1 lookup 20001 priority 9000");
    node.ip("address add 192.0.2.1/32 dev eth10");
    for harm in [
        "rule del from 10.200.101.10 lookup 20001",
        "route flush table 20001",
        "address del 10.200.101.10/24 dev eth10",
        "link set eth10 down",
        "link property del dev eth10 altname fast",
    ] {
        set_sysctl(&node, "ipv4/conf/eth10/rp_filter", "0");
        node.ip(harm);
        node.wait_until(harm, whole);
        node.wait_until("IPv6, too", |node| answers_afar(node, &address6(ENI)));
    }
    node.wait_until("the name is back", |node| {
        node.ip("-o link").contains("fast")
    });

    // What EC2 takes away goes, and a stricter node is told of.
    answer(&node, ENI, &["10.200.101.10/32"]);
    node.wait_until("the address is gone", |node| {
        !node.ip("-6 address show eth10").contains("101::10")
    });
    set_sysctl(&node, "ipv4/conf/all/rp_filter", "2");
    node.patch(ENI, &json!({"spec": {"mtu": 1400}}), &[]);
    let overruled = node.wait_status(ENI, "the node is stricter", |status| {
        status["reason"] == "RPFilterOverruled"
    });
    assert_eq!(overruled["phase"], "Failed");
    set_sysctl(&node, "ipv4/conf/all/rp_filter", "0");
    node.patch(ENI, &json!({"spec": {"mtu": null}}), &[]);
    node.wait_phase(ENI, "Ready");

    node.kill_agent();
    node.delete(ENI);
    node.start_agent(&[]);
    node.wait_phase(ENI, "Released");
    let rules = node.ip("rule list");
    assert!(
        !rules.contains("proto 229") && !rules.contains("10.200.101."),
        "{rules}"
    );
    assert!(rules.contains("192.0.2.1"), "{rules}");
    let addresses = node.ip("-o address show eth10");
    assert!(
        addresses.contains("192.0.2.1") && !addresses.contains("10.200."),
        "{addresses}"
    );
    assert_eq!(sysctl(&node, "ipv4/conf/eth10/rp_filter"), "0");
    assert_eq!(sysctl(&node, "ipv4/conf/eth10/arp_ignore"), "0");
    let after = node.ip("-details link show eth10");
    assert!(
        !after.contains("altname") && !before.contains("altname"),
        "{after}"
    );
    assert_eq!(node.pins(ENI), Vec::<String>::new());
}

#[test]
fn a_pod_that_takes_the_interface_leaves_no_rule_and_gets_no_address() {
    let mut node = two_interfaces(&json!({"addressing": "Host"}));
    node.start_agent(&[]);
    node.wait_phase(ENI, "Ready");
    node.wait_until("it answers", |node| answers_afar(node, "10.200.101.10"));
    node.ip("netns add pod");
    node.ip("link set eth10 netns pod");
    node.wait_phase(ENI, "InPod");
    node.wait_until("its rule is gone", |node| {
        !node.ip("rule list").contains("20001")
    });
    assert!(node.ip("rule list").contains("20002"), "the other's is not");
    node.ip("-n pod link set eth10 netns 1");
    node.wait_phase(ENI, "Ready");
    node.wait_until("it answers again", |node| {
        answers_afar(node, "10.200.101.10")
    });
    // A record that vanishes leaves its rules to the sweep.
    node.kill_agent();
    node.patch(ENI, &json!({"metadata": {"finalizers": null}}), &[]);
    node.delete(ENI);
    node.start_agent(&[]);
    node.wait_until("the sweep", |node| !node.ip("rule list").contains("20001"));
    assert!(node.stop_agent().success());
}
