//! Pods that share an ENI, by the CNI plugin, from a record to packets. Needs root.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use serde_json::{Value, json};

use super::ENI;
use crate::agent_node::AgentNode;

const SOCKET: &str = "/run/eniway-agent.sock";
/// Somewhere beyond the subnet's router.
const FAR: &str = "203.0.113.1";

/// A node whose ENI has a /28 for pods, an agent, and the plugin where a runtime finds it.
fn with_prefix() -> AgentNode {
    let mut node = AgentNode::start();
    node.vpc(&format!("ip address add {FAR}/32 dev lo"));
    node.vpc("ip link set lo up");
    node.plug(ENI);
    node.vpc("ip address add 10.200.101.1/24 dev vpc10");
    node.record(ENI, &json!({"xdp": "Native", "enforcement": "Enforce"}));
    node.patch(
        ENI,
        &json!({"spec": {"interface": {"name": "fast", "addressing": "Host"}}}),
        &[],
    );
    node.answer_with_prefixes(ENI, &["10.200.101.10"], &["10.200.101.64/28"]);
    // The VPC knows by which ENI the addresses of a prefix are reached.
    for last in 64..80 {
        node.vpc(&format!(
            "ip neighbour add 10.200.101.{last} lladdr 02:00:00:00:00:0a dev vpc10"
        ));
    }
    node.start_agent(&[&format!("--socket={SOCKET}")]);
    node.wait_phase(ENI, "Ready");
    let agent = eniway_tests::binary("eniway-agent");
    let mut install = node.node.command(agent.to_str().unwrap());
    install = install.args(["install-cni", "--to=/run"]);
    assert_eq!(install.read().unwrap().trim(), "/run/eniway");
    node
}

/// A namespace of that name, and the plugin's answer to a command for it.
fn cni(node: &AgentNode, command: &str, pod: &str, more: &Value) -> Output {
    let mut network = json!({"cniVersion": "1.1.0", "name": "fast-net", "type": "eniway",
        "interface": "fast", "socket": SOCKET, "routes": [{"dst": "0.0.0.0/0"}]});
    network.as_object_mut().unwrap().extend(
        more.as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    let plugin = node.node.command("env").args([
        &format!("CNI_COMMAND={command}"),
        &format!("CNI_CONTAINERID={pod}-container"),
        &format!("CNI_NETNS=/run/netns/{pod}"),
        "CNI_IFNAME=net1",
        "/run/eniway",
    ]);
    let plugin = plugin.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = plugin.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(network.to_string().as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A pod's interface; gives its address.
fn add(node: &AgentNode, pod: &str) -> String {
    node.ip(&format!("netns add {pod}"));
    let added = cni(node, "ADD", pod, &json!({}));
    assert!(added.status.success(), "{added:?}");
    let said = said(&added);
    assert_eq!(said["interfaces"][1]["name"], "net1");
    assert_eq!(said["ips"][0]["gateway"], "169.254.1.1");
    let address = said["ips"][0]["address"].as_str().unwrap();
    address.strip_suffix("/32").unwrap().to_owned()
}

fn reaches(node: &AgentNode, pod: &str, address: &str) -> bool {
    let ping = format!("netns exec {pod} ping -c1 -W1 {address}");
    let ping = node.node.command("ip").args(ping.split(' '));
    ping.output().unwrap().status.success()
}

#[test]
fn pods_get_addresses_of_the_eni_and_are_reached_without_the_nodes_stack() {
    let mut node = with_prefix();
    // Nothing is forwarded: all that passes goes the short way.
    node.node
        .command("sh")
        .args(["-c", "echo 0 > /proc/sys/net/ipv4/conf/all/forwarding"])
        .read()
        .unwrap();
    let (one, two) = (add(&node, "one"), add(&node, "two"));
    assert_ne!(one, two);
    for address in [&one, &two] {
        assert!(address.starts_with("10.200.101."), "{address}");
        assert!(node.answers(address), "the VPC reaches it");
    }
    assert!(reaches(&node, "one", FAR), "beyond the router");
    assert!(reaches(&node, "one", "10.200.101.1"), "in the subnet");
    assert!(reaches(&node, "one", &two), "another pod");
    assert!(reaches(&node, "one", "10.200.101.10"), "the node");
    let features = node.ip("netns exec one ethtool -k net1");
    assert!(
        features.contains("generic-receive-offload: on"),
        "XDP may redirect to it"
    );
    assert!(node.packets(ENI, &["to_pod", "passed"]) >= 4);
    assert!(node.packets(ENI, &["from_pod", "passed"]) >= 4);

    let agent = eniway_tests::binary("eniway-agent");
    let inspect = node.node.command(agent.to_str().unwrap());
    let shown = inspect.args(["inspect", "eth10"]).read().unwrap();
    assert!(
        shown.contains(&format!("pod          {one} behind enw")),
        "{shown}"
    );

    // What another sends from its address goes nowhere.
    node.ip(&format!("-n two address add {one}/32 dev net1"));
    let lie = format!("netns exec two ping -c1 -W1 -I {one} {FAR}");
    let lie = node.node.command("ip").args(lie.split(' '));
    assert!(!lie.output().unwrap().status.success());
    assert_eq!(
        node.packets(ENI, &["from_pod", "dropped", "source_mismatch"]),
        1
    );
    node.ip(&format!("-n two address del {one}/32 dev net1"));

    // An agent that starts anew knows its pods, and they do not notice.
    node.kill_agent();
    assert!(reaches(&node, "one", FAR), "nobody is needed");
    node.start_agent(&[&format!("--socket={SOCKET}")]);
    node.wait_phase(ENI, "Ready");
    node.wait_until("the agent answers", |node| {
        let checked = cni(node, "CHECK", "one", &json!({}));
        checked.status.success()
    });
    let wrong = json!({"prevResult": {"ips": [{"address": "10.200.101.99/32"}]}});
    let checked = cni(&node, "CHECK", "one", &wrong);
    assert_eq!(said(&checked)["code"], 102);

    // The ENI goes only when they have gone: one with a word, one without.
    node.delete(ENI);
    let held = node.wait_phase(ENI, "Releasing");
    assert_eq!(held["reason"], "InUse");
    assert!(held["message"].as_str().unwrap().contains(&one), "{held}");
    for _ in 0..2 {
        let deleted = cni(&node, "DEL", "one", &json!({}));
        assert!(deleted.status.success(), "{deleted:?}");
    }
    node.ip("netns del two");
    node.wait_phase(ENI, "Released");
    assert_eq!(node.pins(ENI), Vec::<String>::new());
}

#[test]
fn an_addition_that_fails_leaves_nothing_and_says_what_to_do() {
    let node = with_prefix();
    let links = || node.ip("-oneline link show type veth");
    let before = links();
    node.ip("netns add pod");
    let refused = |more: &Value, code: u64, part: &str| {
        let output = cni(&node, "ADD", "pod", more);
        assert!(!output.status.success());
        let said = said(&output);
        let message = said["msg"].as_str().unwrap();
        assert!(said["code"] == code && message.contains(part), "{said}");
        assert_eq!(links(), before);
        assert_eq!(node.ip("-n pod -oneline link show type veth"), "");
    };
    refused(&json!({"interface": "slow"}), 11, "no ENI that is ready");
    refused(
        &json!({"runtimeConfig": {"ips": ["10.200.101.10"]}}),
        101,
        "none of its addresses for pods",
    );
    refused(&json!({"socket": "/run/nobody"}), 50, "ask eniway's agent");
    refused(
        &json!({"ipam": {"type": "host-local"}}),
        7,
        "runtimeConfig.ips",
    );
    refused(&json!({"cniVersion": "9.0.0"}), 1, "are known");

    // The kernel keeps no alias of this length, which it is told when the veth is there.
    refused(&json!({"name": "n".repeat(300)}), 100, "whose link");

    // The one that it asks for; then nobody else can have it, and the same name not twice.
    let wanted = json!({"runtimeConfig": {"ips": ["10.200.101.70/28"]}});
    let added = cni(&node, "ADD", "pod", &wanted);
    assert_eq!(said(&added)["ips"][0]["address"], "10.200.101.70/32");
    assert!(node.answers("10.200.101.70"));
    node.ip("netns add other");
    let taken = cni(&node, "ADD", "other", &wanted);
    assert!(
        said(&taken)["msg"]
            .as_str()
            .unwrap()
            .contains("another pod's")
    );
    let twice = cni(&node, "ADD", "pod", &json!({}));
    assert_eq!(said(&twice)["code"], 100);

    // What the runtime does not know is collected, of this network only.
    let valid = json!({"cni.dev/valid-attachments":
        [{"containerID": "pod-container", "ifname": "net1"}]});
    assert!(cni(&node, "GC", "pod", &valid).status.success());
    assert!(node.answers("10.200.101.70"));
    let other = json!({"name": "other-net", "cni.dev/valid-attachments": []});
    assert!(cni(&node, "GC", "pod", &other).status.success());
    assert!(node.answers("10.200.101.70"));
    let none = json!({"cni.dev/valid-attachments": []});
    assert!(cni(&node, "GC", "pod", &none).status.success());
    assert_eq!(links(), before);
    assert!(cni(&node, "STATUS", "pod", &json!({})).status.success());
    let versions = cni(&node, "VERSION", "pod", &json!({}));
    assert!(
        said(&versions)["supportedVersions"]
            .as_array()
            .unwrap()
            .contains(&json!("1.1.0"))
    );
}
