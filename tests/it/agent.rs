//! The agent on a node: records, links and packets are real. Needs root (the lab).

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
        let mode = ["Audit", "Enforce"][usize::from(moment % 80 == 0)];
        node.patch(
            ENI,
            &json!({"spec": {"dataPath": {"enforcement": mode}}}),
            &[],
        );
    }
    node.start_agent(&[]);
    let ready = node.wait_status(ENI, "ready under Audit", |status| {
        status["phase"] == "Ready" && status["enforcement"] == "Audit"
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
    assert!(!node.ip("-details link show eth10").contains("xdp"));
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
    node.wait_phase(ENI, "InPod");
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

/// Needs root.
#[test]
fn a_bad_record_or_node_is_told_and_stops_nothing_else() {
    let mut node = AgentNode::start();
    let (good, newer, foreign, twin, elsewhere) = (Eni(10), Eni(11), Eni(12), Eni(13), Eni(14));
    let unreachable = node.refused_by_a_folder_that_is_no_bpffs(good);
    assert!(unreachable.contains("mount -t bpf"), "{unreachable}");

    // A newer release's CRD knows a value that this agent does not.
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/dataPath/properties/xdp/enum/-";
    let patch = json!([{"op": "add", "path": schema, "value": "Hardware"}]).to_string();
    let crd = [
        "patch",
        "crd",
        "nodeeniattachments.networking.k8s.aws",
        "--type=json",
        "-p",
        &patch,
    ];
    node.lab.kubectl(&crd).unwrap();
    node.record(newer, &json!({"xdp": "Hardware"}));
    node.plug(foreign);
    node.attach_foreign_xdp(foreign);
    node.record(foreign, &json!({"xdp": "Native"}));
    node.plug(twin);
    node.ip("link add twin address 02:00:00:00:00:0d type veth peer name twin-far");
    node.record(twin, &json!({}));
    node.plug(elsewhere);
    node.record_of("i-0000000000000ffff", elsewhere, &json!({}));

    node.start_agent(&[]);
    let failed = |eni, reason: &str| {
        let status = node.wait_phase(eni, "Failed");
        assert_eq!(status["reason"], reason, "{status}");
        status["message"].as_str().unwrap().to_owned()
    };
    assert!(failed(newer, "AgentTooOld").contains("upgrade the agent"));
    node.delete(newer);
    node.wait_phase(newer, "Released");
    assert!(failed(foreign, "ForeignProgram").contains("not ours"));
    assert!(failed(twin, "InterfaceAmbiguous").contains("eth13"));
    node.wait_phase(good, "Ready");
    let other = node
        .lab
        .kubectl(&["get", "nea", &elsewhere.record(), "-o", "yaml"]);
    assert!(
        !other.unwrap().contains("phase:"),
        "another instance's record is left alone"
    );
    assert!(
        node.ip("link show eth12").contains("xdp"),
        "the foreign program is still there"
    );

    node.detach_foreign_xdp();
    node.ip("link del twin");
    node.wait_phase(foreign, "Ready");
    node.wait_phase(twin, "Ready");
}

/// Needs root.
#[test]
fn what_nobody_records_is_removed_and_an_api_server_that_comes_back_is_heard() {
    let mut node = AgentNode::start();
    let (kept, orphan, late) = (Eni(10), Eni(11), Eni(12));
    for eni in [kept, orphan] {
        node.plug(eni);
        node.record(eni, &json!({"xdp": "Off"}));
    }
    node.start_agent(&[]);
    node.wait_phase(kept, "Ready");
    node.wait_phase(orphan, "Ready");
    let pins = node.pins(kept);
    node.kill_agent();
    node.patch(orphan, &json!({"metadata": {"finalizers": null}}), &[]);
    node.lab
        .kubectl(&["delete", "nea", &orphan.record()])
        .unwrap();
    node.start_agent(&[]);
    node.wait_until("the orphan's pins are gone", |node| {
        node.pins(orphan).is_empty()
    });
    assert_eq!(node.pins(kept), pins);

    node.lab.restart_apiserver().unwrap();
    node.plug(late);
    node.record(late, &json!({"xdp": "Off"}));
    node.wait_phase(late, "Ready");
    let lease = [
        "get",
        "lease",
        "-n",
        "eniway-system",
        "eniway-agent-node1",
        "-o",
        "yaml",
    ];
    assert!(node.lab.kubectl(&lease).unwrap().contains("renewTime"));
    assert!(node.stop_agent().success());
    assert!(
        !node.pins(late).is_empty(),
        "the data path outlives the agent"
    );
}
