//! Steering rules, from the record to the packets and the status. Needs root.

use serde_json::{Value, json};

use super::ENI;
use crate::agent_node::{AgentNode, Eni};

const OTHER: Eni = Eni(11);

fn data_path(rules: &Value) -> Value {
    json!({"xdp": "Native", "enforcement": "Enforce", "steering": rules})
}

#[test]
fn rules_work_from_the_record_and_those_that_cannot_say_why() {
    let mut node = AgentNode::start();
    node.plug(ENI);
    let ping = json!({"match": {"source": "10.200.101.200/32", "protocol": "ICMP"}, "action": {"type": "Drop"}});
    node.record(ENI, &data_path(&json!([ping])));
    node.start_agent(&[]);
    node.wait_phase(ENI, "Ready");
    node.ip("address add 10.200.101.10/24 dev eth10");
    node.vpc("ip address add 10.200.101.200/24 dev vpc10");
    assert!(!node.answers("10.200.101.10"));
    assert!(node.packets(ENI, &["ingress", "dropped", "steering"]) > 0);

    // The next agent finds the rules in force, and leaves them so.
    node.kill_agent();
    assert!(!node.answers("10.200.101.10"));
    node.start_agent(&[]);
    node.wait_phase(ENI, "Ready");
    assert!(!node.answers("10.200.101.10"));

    // A rule that cannot work leaves its packets to the stack, and the others work.
    let redirect = json!({"match": {"protocol": "ICMP"}, "action": {"type": "Redirect", "interface": "eth11"}});
    let steer = |rules: Value| json!({"spec": {"dataPath": {"steering": rules}}});
    node.patch(ENI, &steer(json!([redirect])), &[]);
    let refused = node.wait_status(ENI, "the rule is refused", |status| {
        status["reason"] == "SteeringRefused"
    });
    assert_eq!(refused["phase"], "Failed");
    assert_eq!(
        refused["message"],
        "steering rule 0 (Redirect): the node has no interface named \"eth11\"; its packets go to the stack"
    );
    assert!(node.answers("10.200.101.10"));

    // The interface comes, but its other end would lose what is redirected; then it would not.
    node.plug(OTHER);
    node.wait_status(ENI, "the other end is told of", |status| {
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("takes no packets from XDP"))
    });
    node.vpc("ethtool -K vpc11 gro on");
    node.wait_phase(ENI, "Ready");
    // The routing table does not lead there: the stack answers.
    assert!(node.answers("10.200.101.10"));

    node.patch(ENI, &json!({"spec": {"dataPath": {"xdp": "Off"}}}), &[]);
    node.wait_status(ENI, "TC cannot redirect", |status| {
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("packets are checked on TC here"))
    });
    node.patch(ENI, &steer(json!([ping])), &[]);
    node.wait_phase(ENI, "Ready");
    assert!(!node.answers("10.200.101.10"), "TC drops, too");
    node.patch(ENI, &steer(Value::Null), &[]);
    node.wait_until("without rules it answers", |node| {
        node.answers("10.200.101.10")
    });
}
