//! What goes wrong around the agent: bad records, programs of others, an API server that was away.

use serde_json::json;

use crate::agent_node::{AgentNode, Eni};

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
