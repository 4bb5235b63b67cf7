//! What the instance's metadata says beside a record, on an instance of the lab. Needs root.

use std::time::Duration;

use ec2_sim::Request;
use lab::{Attached, wait};
use serde_json::{Value, json};

use super::ENI;
use crate::agent_node::AgentNode;

const RECORD: &str = "fast";
/// Time for the agent's next look at the metadata, and for more than one.
const LOOKS: Duration = Duration::from_secs(20);
/// Far longer than a difference must last until it is told.
const LASTING: Duration = Duration::from_secs(150);
const ASK: &str = "--compare-metadata";

/// Writes the record of an interface that EC2 has attached, as the controller does.
fn record(node: &AgentNode, attached: &Attached) {
    let record = json!({
        "apiVersion": "networking.k8s.aws/v1alpha1",
        "kind": "NodeENIAttachment",
        "metadata": {"name": RECORD, "finalizers": ["eniway.io/attachment"]},
        "spec": {
            "nodeName": "node1",
            "instanceID": "i-00000000000000001",
            "nodeENI": {"name": "multus", "uid": "1"},
            "subnetID": attached.interface.subnet.as_str(),
            "securityGroupIDs": ["sg-00000001"],
            "deleteOnTermination": true,
            "sourceDestCheck": true,
            "dataPath": {"xdp": "Native", "enforcement": "Enforce"},
            "interface": {"addressing": "Host"},
        },
    });
    node.lab.apply(&record.to_string()).unwrap();
}

/// Writes what EC2 says, as the controller read it.
fn answer(node: &AgentNode, attached: &Attached, more: &[&str]) {
    let eni = &attached.interface;
    let ours = eni.addresses.iter().map(|one| format!("{one}/32"));
    let v6 = eni.ipv6_addresses.iter().map(|one| format!("{one}/128"));
    let more = more.iter().map(ToString::to_string);
    let addresses: Vec<String> = ours.chain(more).chain(v6).collect();
    let ec2 = json!({
        "state": "Attached",
        "eniID": eni.id.as_str(),
        "macAddress": eni.mac,
        "deviceIndex": 1,
        "subnetCIDRs": ["10.200.101.0/24"],
        "addresses": addresses,
    });
    let patch = json!({"status": {"ec2": ec2}}).to_string();
    let words = [
        "patch",
        "nea",
        RECORD,
        "--type=merge",
        "--subresource=status",
        "-p",
        &patch,
    ];
    node.lab.kubectl(&words).unwrap();
}

fn wait_status(node: &AgentNode, within: Duration, accept: impl Fn(&Value) -> bool) {
    let look = || {
        let text = node.lab.kubectl(&["get", "nea", RECORD, "-o", "json"]);
        let text = text.map_err(|error| error.to_string())?;
        let record: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let status = &record["status"]["node"];
        match accept(status) {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    };
    wait::until("the status", within, look).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_ec2_gives_meanwhile_is_let_in_and_told_when_the_record_never_follows() {
    let mut node = AgentNode::start();
    let attached = node.lab.attach_interface("node1", "multus-a", 1).unwrap();
    record(&node, &attached);
    answer(&node, &attached, &[]);
    node.start_agent(&[]);
    wait_status(&node, LOOKS, |status| status["phase"] == "Ready");

    // A sidecar gives the interface another address, in EC2 and on the node.
    let address = "10.200.101.77";
    let assign = Request::new("AssignPrivateIpAddresses")
        .with("Version", "2016-11-15")
        .with("NetworkInterfaceId", &attached.interface.id)
        .with("PrivateIpAddress.1", address);
    let assigned = node
        .lab
        .ec2()
        .with_world(|world, now| world.call(&assign, now));
    assigned.unwrap();
    node.ip(&format!("address add {address}/32 dev {}", attached.name));
    node.ip(&format!("rule add from {address} lookup 20001"));
    let far = node.lab.host("far", "hosts-a").unwrap();
    let answers = || {
        let ping = far.command("ping").args(["-c1", "-W1", address]);
        ping.output().unwrap().status.success()
    };
    assert!(!answers(), "the record does not know it");
    node.kill_agent();
    node.start_agent(&[ASK]);
    wait::until("it is let in", LOOKS, || match answers() {
        true => Ok(()),
        false => Err("no answer".to_owned()),
    })
    .unwrap();
    wait_status(&node, LOOKS, |status| {
        status["phase"] == "Ready" && status["metadataDifference"].is_null()
    });

    // The controller is not late, it knows nothing of it: a person is told, and the interface stays ready.
    wait_status(&node, LASTING, |status| {
        let difference = format!("only the metadata has {address}/32");
        status["metadataDifference"] == difference && status["phase"] == "Ready"
    });
    answer(&node, &attached, &[&format!("{address}/32")]);
    wait_status(&node, LOOKS, |status| {
        status["metadataDifference"].is_null()
    });
    assert!(answers());
}

#[test]
fn applications_read_of_an_interface_in_a_file_of_its_own() {
    let mut node = AgentNode::start();
    node.plug(ENI);
    node.record(ENI, &json!({"xdp": "Native", "enforcement": "Enforce"}));
    node.start_agent(&["--states=/run/eniway/interfaces"]);
    let file = |node: &AgentNode| -> Option<Value> {
        let path = format!("/run/eniway/interfaces/{}.json", ENI.id());
        let text = node.node.command("cat").arg(path).read().ok()?;
        serde_json::from_str(&text).ok()
    };
    node.wait_phase(ENI, "Ready");
    let state = file(&node).unwrap();
    assert_eq!(state["node"]["interfaceName"], "eth10");
    assert_eq!(state["ec2"]["addresses"], json!(["10.200.101.10/32"]));
    // It follows EC2 also where the node has nothing new to say.
    node.answer(ENI, &["10.200.101.10", "10.200.101.12"]);
    node.wait_until("the new address", |node| {
        file(node).is_some_and(|state| state["ec2"]["addresses"][1] == "10.200.101.12/32")
    });
    node.delete(ENI);
    node.wait_phase(ENI, "Released");
    assert_eq!(file(&node), None);
}

#[test]
fn without_a_metadata_service_all_is_as_without_the_question_and_it_is_said_once() {
    let mut node = AgentNode::start();
    node.plug(ENI);
    node.record(ENI, &json!({"xdp": "Native", "enforcement": "Enforce"}));
    // The service of this instance knows nothing of this interface.
    node.start_agent(&[ASK]);
    let ready = node.wait_phase(ENI, "Ready");
    assert!(ready["metadataDifference"].is_null());
    assert!(!node.lab.logs("agent").contains("Metadata unknown"));
    node.kill_agent();
    node.start_agent(&[ASK, "--imds=http://127.0.0.1:1"]);
    node.wait_until("it says so", |node| {
        node.lab.logs("agent").contains("Metadata unknown")
    });
    node.answer(ENI, &["10.200.101.10", "10.200.101.12"]);
    node.vpc("ip address add 10.200.101.200/24 dev vpc10");
    node.ip("address add 10.200.101.12/24 dev eth10");
    node.vpc("ip neighbour add 10.200.101.12 lladdr 02:00:00:00:00:0a dev vpc10");
    node.wait_until("the record counts", |node| node.answers("10.200.101.12"));
    let said = node.lab.logs("agent");
    assert_eq!(said.matches("Metadata unknown").count(), 1, "{said}");
}
