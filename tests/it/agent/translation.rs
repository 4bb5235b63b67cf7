//! What an ENI sends keeps its source, whatever the VPC CNI translates. Needs root.

use serde_json::json;

use super::ENI;
use crate::agent_node::AgentNode;

/// Somewhere beyond the VPC, which is 10.200.0.0/16.
const FAR: &str = "203.0.113.1";
const ADDRESS: &str = "10.200.101.10";

/// The rules of the VPC CNI 1.20 as its `updateHostIptablesRules` appends them, with PRIMARY for the node's address.
const AWS_NODE: [&str; 12] = [
    "-t nat -N AWS-SNAT-CHAIN-0",
    "-t nat -A POSTROUTING -m comment --comment AWS_SNAT_CHAIN -j AWS-SNAT-CHAIN-0",
    "-t nat -A AWS-SNAT-CHAIN-0 -d 10.200.0.0/16 -m comment --comment AWS_SNAT_CHAIN -j RETURN",
    "-t nat -A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment AWS,_SNAT -m addrtype ! --dst-type LOCAL \
     -j SNAT --to-source PRIMARY --random-fully",
    "-t mangle -A PREROUTING -m comment --comment AWS,_primary_ENI -i eth0 -m addrtype --dst-type LOCAL \
     --limit-iface-in -j CONNMARK --set-mark 0x80/0x80",
    "-t mangle -A PREROUTING -m comment --comment AWS,_primary_ENI -i eni+ -j CONNMARK --restore-mark --mask 0x80",
    "-t mangle -A PREROUTING -m comment --comment AWS,_primary_ENI -i vlan+ -j CONNMARK --restore-mark --mask 0x80",
    "-t nat -N AWS-CONNMARK-CHAIN-0",
    "-t nat -A PREROUTING -i eni+ -m comment --comment AWS,_outbound_connections -j AWS-CONNMARK-CHAIN-0",
    "-t nat -A AWS-CONNMARK-CHAIN-0 -d 10.200.0.0/16 -m comment --comment AWS_CONNMARK_CHAIN -j RETURN",
    "-t nat -A PREROUTING -m comment --comment AWS,_CONNMARK -j CONNMARK --restore-mark --mask 0x80",
    "-t nat -A AWS-CONNMARK-CHAIN-0 -m comment --comment AWS,_CONNMARK -j CONNMARK --set-xmark 0x80/0x80",
];

/// Removes what the others added, as an aws-node that is told to start anew.
const CLEAN: [&str; 3] = ["-t nat -F", "-t nat -X", "-t mangle -F"];

struct Node {
    agent: AgentNode,
    /// Which iptables the VPC CNI uses.
    iptables: &'static str,
    primary: String,
}

impl Node {
    /// A node with one interface, whose router is the VPC's namespace, and what sends from there counted by source.
    fn start(iptables: &'static str) -> Self {
        let agent = AgentNode::start();
        let address = agent.ip("-4 -o address show dev eth0");
        let address = address.split_whitespace().nth(3).unwrap();
        let primary = address.split('/').next().unwrap().to_owned();
        agent.vpc("ip link set lo up");
        agent.vpc(&format!("ip address add {FAR}/32 dev lo"));
        agent.plug(ENI);
        agent.vpc("ip address add 10.200.101.1/24 dev vpc10");
        agent.vpc(&format!("ip route add {primary}/32 dev vpc10"));
        for source in [ADDRESS, &primary] {
            agent.vpc(&format!("iptables -A INPUT -s {source} -d {FAR} -j ACCEPT"));
        }
        agent.record(ENI, &json!({"xdp": "Native", "enforcement": "Audit"}));
        let interface = json!({"addressing": "Host"});
        agent.patch(ENI, &json!({"spec": {"interface": interface}}), &[]);
        Self {
            agent,
            iptables,
            primary,
        }
    }

    fn iptables(&self, rules: &[&str]) {
        for rule in rules {
            let rule = rule.replace("PRIMARY", &self.primary);
            let set = self.agent.node.command(self.iptables);
            set.args(rule.split_whitespace()).read().unwrap();
        }
    }

    /// From which of the two something came, that the node sent from the interface's address to afar.
    fn source_of_a_packet(&self) -> &'static str {
        self.agent.vpc("iptables -Z INPUT");
        let ping = self.agent.node.command("ping");
        let ping = ping.args(["-c1", "-W1", "-I", ADDRESS, FAR]);
        let _answered = ping.output().unwrap();
        let counted = self.agent.vpc("iptables -vnxL INPUT");
        let has = |source: &str| {
            counted.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.first() == Some(&"1") && words.contains(&source)
            })
        };
        match (has(ADDRESS), has(&self.primary)) {
            (true, false) => "its own",
            (false, true) => "the primary's",
            (false, false) => "none",
            (true, true) => "both",
        }
    }

    /// The rules by which sources are kept, as nft shows them; none, where there is no table.
    fn kept(&self) -> Vec<String> {
        let list = self.agent.node.command("nft");
        let list = list.args(["list", "chain", "ip", "eniway", "sources"]);
        let listed = list.output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let rules = listed.lines().filter(|line| line.contains("snat to"));
        rules.map(|rule| rule.trim().to_owned()).collect()
    }

    fn wait_kept(&self, what: &str) {
        self.agent.wait_until(what, |_| !self.kept().is_empty());
    }
}

fn keeps_its_source(iptables: &'static str) {
    let mut node = Node::start(iptables);
    node.agent.start_agent(&[]);
    node.agent.wait_phase(ENI, "Ready");
    assert_eq!(node.source_of_a_packet(), "its own");
    assert!(
        node.kept().is_empty(),
        "where nobody translates, nothing is kept"
    );

    // What the VPC CNI does to it.
    node.agent.kill_agent();
    node.iptables(&AWS_NODE);
    assert_eq!(node.source_of_a_packet(), "the primary's");
    node.agent.start_agent(&[]);
    node.wait_kept("it is kept");
    assert_eq!(node.source_of_a_packet(), "its own");
    let rule = format!(
        "oif \"eth10\" ip saddr {ADDRESS} snat to ip saddr comment \"{}\"",
        ENI.id()
    );
    assert_eq!(node.kept(), [rule]);

    // Its marks do not lead what is answered elsewhere: those are of connections by the primary interface.
    node.agent
        .ip("rule add fwmark 0x80/0x80 lookup main priority 1024");
    let ping = format!("netns exec vpc ping -c1 -W2 -I {FAR} {ADDRESS}");
    node.agent.ip(&ping);

    // It is synchronized anew, and somebody flushes all rules.
    node.iptables(&CLEAN);
    node.iptables(&AWS_NODE);
    assert_eq!(node.source_of_a_packet(), "its own");
    node.agent
        .node
        .command("nft")
        .args(["flush", "ruleset"])
        .read()
        .unwrap();
    node.iptables(&CLEAN);
    node.iptables(&AWS_NODE);
    node.wait_kept("it is kept again");
    assert_eq!(node.source_of_a_packet(), "its own");

    node.agent.delete(ENI);
    node.agent.wait_phase(ENI, "Released");
    let tables = node.agent.node.command("nft").args(["list", "tables"]);
    let tables = tables.read().unwrap();
    assert!(!tables.contains("eniway"), "{tables}");
}

#[test]
fn what_an_interface_sends_keeps_its_source_beside_iptables_of_nf_tables() {
    keeps_its_source("iptables-nft");
}

#[test]
fn what_an_interface_sends_keeps_its_source_beside_the_older_iptables() {
    keeps_its_source("iptables-legacy");
}

#[test]
fn a_source_is_kept_by_prefix_as_well_until_its_record_vanishes() {
    let mut node = Node::start("iptables-nft");
    node.iptables(&AWS_NODE);
    node.agent
        .answer_with_prefixes(ENI, &[ADDRESS], &["10.200.101.16/28"]);
    node.agent.start_agent(&[]);
    node.agent.wait_phase(ENI, "Ready");
    let kept = node.kept();
    assert!(
        kept.len() == 2 && kept[1].contains("ip saddr 10.200.101.16/28 snat to ip saddr"),
        "{kept:?}"
    );
    // What EC2 takes away is free again, and the rest stays.
    node.agent.answer(ENI, &[ADDRESS]);
    node.agent
        .wait_until("the prefix is free", |_| node.kept().len() == 1);
    assert_eq!(node.source_of_a_packet(), "its own");
    node.agent.kill_agent();
    let no_finalizer = json!({"metadata": {"finalizers": null}});
    node.agent.patch(ENI, &no_finalizer, &[]);
    node.agent.delete(ENI);
    node.agent.start_agent(&[]);
    node.agent
        .wait_until("the sweep", |_| node.kept().is_empty());
}
