//! The agent on a node: records, links and packets are real. Needs root (the lab).

mod af_xdp;
mod devices;
mod dhcp;
mod metadata;
mod network;
mod networkd;
mod pods;
mod sockets;
mod standalone;
mod steering;
mod storm;
mod translation;
mod trouble;

use std::time::Duration;

use serde_json::json;

use crate::agent_node::{AgentNode, Eni};

const ENI: Eni = Eni(10);

/// Needs root.
#[test]
fn an_interface_is_guarded_from_its_record_to_its_release() {
    let mut node = AgentNode::start();
    node.record(ENI, &json!({"xdp": "Native", "enforcement": "Enforce"}));
    node.start_agent(&[]);
    let pending = node.wait_phase(ENI, "Pending");
    assert_eq!(pending["reason"], "InterfaceNotFound");

    node.plug(ENI);
    let ready = node.wait_phase(ENI, "Ready");
    assert_eq!(ready["interfaceName"], "eth10");
    assert_eq!(ready["driver"], "veth");
    assert_eq!(ready["enforcement"], "Enforce");
    assert!(node.metrics("/readyz").contains("200 OK"));
    assert!(
        node.metrics("/metrics")
            .contains("eniway_agent_set_up_seconds_count 1")
    );

    node.ip("address add 10.200.101.10/24 dev eth10");
    node.ip("address add 10.200.101.77/24 dev eth10");
    node.vpc("ip address add 10.200.101.200/24 dev vpc10");
    // The guard lets no one else's address be announced by ARP, so that the VPC must know it.
    node.vpc("ip neighbour add 10.200.101.77 lladdr 02:00:00:00:00:0a dev vpc10");
    assert!(node.answers("10.200.101.10"));
    assert!(node.packets(ENI, &["ingress", "passed"]) > 0);
    assert!(!node.answers("10.200.101.77"));
    assert!(node.packets(ENI, &["ingress", "dropped", "destination_mismatch"]) > 0);

    // An address that EC2 assigns is let in at once, and one that it takes away is not.
    node.answer(ENI, &["10.200.101.10", "10.200.101.77"]);
    node.wait_until("the new address answers", |node| {
        node.answers("10.200.101.77")
    });
    node.answer(ENI, &["10.200.101.10"]);
    node.wait_until("the old address is silent", |node| {
        !node.answers("10.200.101.77")
    });

    // So is one of a prefix.
    node.answer_with_prefixes(ENI, &["10.200.101.10"], &["10.200.101.64/28"]);
    node.wait_until("an address of the prefix answers", |node| {
        node.answers("10.200.101.77")
    });
    node.answer(ENI, &["10.200.101.10"]);
    node.wait_until("the prefix is gone", |node| !node.answers("10.200.101.77"));

    node.patch(ENI, &json!({"spec": {"mtu": 1400}}), &[]);
    let smaller = node.wait_status(ENI, "the MTU is 1400", |status| status["mtu"] == 1400);
    assert_eq!(smaller["phase"], "Ready");

    node.patch(
        ENI,
        &json!({"spec": {"dataPath": {"enforcement": "Audit"}}}),
        &[],
    );
    node.wait_status(ENI, "the mode is Audit", |status| {
        status["enforcement"] == "Audit"
    });
    assert!(node.answers("10.200.101.77"));
    assert!(node.packets(ENI, &["ingress", "audited", "destination_mismatch"]) > 0);

    node.delete(ENI);
    let released = node.wait_phase(ENI, "Released");
    assert_eq!(released["released"], true);
    assert!(
        node.ip("link show eth10").contains("mtu 1500 "),
        "it has its MTU back"
    );
    assert_eq!(node.pins(ENI), Vec::<String>::new());
    assert!(node.stop_agent().success());
}

/// Needs root.
#[test]
fn a_restart_loses_no_packet_and_lets_none_through() {
    let mut node = AgentNode::start();
    node.plug(ENI);
    node.record(ENI, &json!({"xdp": "Native", "enforcement": "Enforce"}));
    node.start_agent(&[]);
    node.wait_phase(ENI, "Ready");
    node.ip("address add 10.200.101.10/24 dev eth10");
    node.ip("address add 10.200.101.77/24 dev eth10");
    node.vpc("ip address add 10.200.101.200/24 dev vpc10");
    node.vpc("ip neighbour add 10.200.101.77 lladdr 02:00:00:00:00:0a dev vpc10");
    assert!(node.answers("10.200.101.10"));

    let before = node.packets(ENI, &["ingress", "passed"]);
    let own = node.vpc_spawn("ping -i 0.01 -c 400 -W 1 10.200.101.10");
    let stray = node.vpc_spawn("ping -i 0.01 -c 400 -W 1 10.200.101.77");
    for _ in 0..3 {
        node.kill_agent();
        node.start_agent(&[]);
        assert!(node.metrics("/healthz").contains("200 OK"));
    }
    let received = |ping: std::process::Child| {
        let output = ping.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split(", ")
            .find(|part| part.contains("received"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(received(own), "400 received");
    assert_eq!(received(stray), "0 received");
    assert!(
        node.packets(ENI, &["ingress", "passed"]) >= before + 400,
        "counters outlive the agent"
    );
}

/// Needs root. The agent is killed again and again, each time a little later in its work, while the
/// wishes change; whoever comes last finishes.
#[test]
fn an_agent_killed_at_any_moment_leaves_work_that_the_next_one_finishes() {
    let mut node = AgentNode::start();
    let kill_after = |node: &mut AgentNode, milliseconds| {
        node.start_agent(&[]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        node.kill_agent();
    };
    node.record(ENI, &json!({"xdp": "Native", "enforcement": "Enforce"}));
    node.plug(ENI);
    for moment in (0..400).step_by(40) {
        kill_after(&mut node, moment);
        let (mode, mtu) = [("Audit", 1400), ("Enforce", 1300)][usize::from(moment % 80 == 0)];
        let spec = json!({"mtu": mtu, "dataPath": {"enforcement": mode}});
        node.patch(ENI, &json!({"spec": spec}), &[]);
    }
    node.start_agent(&[]);
    let ready = node.wait_status(ENI, "ready under Audit", |status| {
        status["phase"] == "Ready" && status["enforcement"] == "Audit" && status["mtu"] == 1400
    });
    assert_eq!(ready["xdp"]["mode"], "Native");
    node.kill_agent();

    node.delete(ENI);
    for moment in (0..400).step_by(40) {
        kill_after(&mut node, moment);
    }
    node.start_agent(&[]);
    node.wait_phase(ENI, "Released");
    assert_eq!(node.pins(ENI), Vec::<String>::new());
    let link = node.ip("-details link show eth10");
    assert!(
        !link.contains("xdp") && link.contains("mtu 1500 "),
        "{link}"
    );
}

/// Needs root.
#[test]
fn an_interface_is_known_by_its_mac_wherever_it_goes() {
    let mut node = AgentNode::start();
    node.plug(ENI);
    node.record(ENI, &json!({"enforcement": "Enforce"}));
    node.start_agent(&[]);
    node.wait_phase(ENI, "Ready");

    node.ip("link add link eth10 name child0 address 02:00:00:00:00:0a type macvlan mode bridge");
    node.ip("link set eth10 down");
    node.ip("link set eth10 name ens7");
    let renamed = node.wait_status(ENI, "the new name is known", |status| {
        status["interfaceName"] == "ens7"
    });
    assert_eq!(renamed["phase"], "Ready");
    assert!(node.ip("link show ens7").contains(",UP"), "it is up again");
    node.ip("link del child0");

    node.ip("netns add pod");
    node.ip("link set ens7 netns pod");
    let in_pod = node.wait_phase(ENI, "InPod");
    assert_eq!(in_pod["interfaceName"], "ens7");
    node.patch(
        ENI,
        &json!({"spec": {"dataPath": {"enforcement": "Audit"}}}),
        &[],
    );
    node.wait_status(ENI, "the mode changes inside the pod", |status| {
        status["phase"] == "InPod" && status["enforcement"] == "Audit"
    });
    node.delete(ENI);
    let waiting = node.wait_phase(ENI, "Releasing");
    assert_eq!(waiting["reason"], "InUse");
    assert!(!node.pins(ENI).is_empty());
    node.ip("-n pod link set ens7 netns 1");
    node.wait_phase(ENI, "Released");
    assert_eq!(node.pins(ENI), Vec::<String>::new());
}
