//! What the pods may do on a node.

use serde_json::{Value, json};

use super::{DEFAULT, FULL, name, render};

/// Workloads by name: capabilities beside none, and whether they are root on the node's network.
const PODS: [(&str, &[&str], bool); 3] = [
    ("eniway-agent", &["BPF", "NET_ADMIN", "PERFMON"], true),
    ("eniway-controller", &[], false),
    ("eniway-crds", &[], false),
];

fn pods(arguments: &[&str]) -> Vec<(String, Value)> {
    let objects = render(arguments).unwrap();
    let mut pods: Vec<_> = objects
        .iter()
        .filter(|object| object["spec"]["template"].is_object())
        .map(|object| {
            (
                name(object).to_owned(),
                object["spec"]["template"]["spec"].clone(),
            )
        })
        .collect();
    pods.sort_by(|a, b| a.0.cmp(&b.0));
    pods
}

#[test]
fn containers_have_the_capabilities_they_need_and_no_other() {
    for arguments in [DEFAULT, FULL] {
        let pods = pods(arguments);
        assert_eq!(pods.len(), PODS.len());
        for ((name, pod), (expected, capabilities, root)) in pods.iter().zip(PODS) {
            assert_eq!(name, expected);
            assert_eq!(
                pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
                "{name}"
            );
            let nonroot = pod["securityContext"]["runAsNonRoot"] == true;
            assert_eq!(nonroot, !root, "{name}");
            let [container] = pod["containers"].as_array().unwrap().as_slice() else {
                panic!("{name} has one container");
            };
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["privileged"], Value::Null, "{name}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{name}");
            let added = context["capabilities"]["add"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            assert_eq!(added, capabilities, "{name}");
        }
    }
}

#[test]
fn the_agent_does_without_perfmon_where_it_is_told_to() {
    let pods = pods(&["--set", "clusterName=test,agent.perfmon=false"]);
    let context = &pods[0].1["containers"][0]["securityContext"];
    assert_eq!(context["capabilities"]["add"], json!(["BPF", "NET_ADMIN"]));
}

#[test]
fn only_the_agent_sees_the_node() {
    for (name, pod) in pods(DEFAULT) {
        let agent = name == "eniway-agent";
        assert_eq!(pod["hostNetwork"] == true, agent, "{name}");
        assert!(
            pod["hostPID"].is_null() && pod["hostIPC"].is_null(),
            "{name}"
        );
        let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
        let paths: Vec<_> = volumes
            .iter()
            .map(|volume| &volume["hostPath"]["path"])
            .collect();
        let expected: &[&str] = if agent {
            &["/sys/fs/bpf", "/proc/sys/net"]
        } else {
            &[]
        };
        assert_eq!(paths, expected, "{name}");
    }
}

#[test]
fn maps_of_sockets_are_handed_out_on_request_only() {
    let socket = |arguments| {
        let (_, pod) = pods(arguments).remove(0);
        let text = pod.to_string();
        (
            text.contains("--socket=/run/eniway/agent.sock"),
            text.matches("/run/eniway\"").count(),
        )
    };
    assert_eq!(socket(DEFAULT), (false, 0));
    assert_eq!(
        socket(FULL),
        (true, 2),
        "where it is mounted from, and where"
    );
}

#[test]
fn the_metadata_service_is_asked_unless_somebody_minds() {
    let asks = |arguments: &[&str]| {
        let agent = pods(arguments).remove(0).1;
        let arguments = &agent["containers"][0]["args"];
        arguments
            .as_array()
            .unwrap()
            .contains(&json!("--compare-metadata"))
    };
    assert!(asks(DEFAULT));
    assert!(!asks(&["--set=clusterName=test,agent.metadata=false"]));
}

#[test]
fn networkd_is_told_on_request_only_and_the_bus_is_another() {
    let agent = |arguments: &[&str]| pods(arguments).remove(0).1.to_string();
    let none = agent(DEFAULT);
    assert!(!none.contains("/run/systemd") && !none.contains("/run/dbus"));
    let unmanage = "--set=clusterName=test,agent.networkd.unmanage=true";
    let files = agent(&[unmanage]);
    for part in [
        r#""--systemd=/node/systemd""#,
        r#""path":"/run/systemd/network""#,
        r#"{"mountPath":"/node/systemd/netif","name":"netif","readOnly":true}"#,
    ] {
        assert!(files.contains(part), "{part} in {files}");
    }
    assert!(!files.contains("dbus"), "{files}");
    let bus = agent(&[unmanage, "--set=agent.networkd.reload=true"]);
    assert!(bus.contains("--bus=/node/dbus/system_bus_socket"), "{bus}");
}

#[test]
fn files_for_applications_are_written_on_request_only() {
    let (_, pod) = pods(&["--set=clusterName=test,agent.interfaceFiles=true"]).remove(0);
    let text = pod.to_string();
    assert!(text.contains("--states=/run/eniway/interfaces"), "{text}");
    assert!(text.contains(r#""mountPath":"/run/eniway""#), "{text}");
    assert!(!text.contains("--socket"), "{text}");
    let (_, pod) = pods(DEFAULT).remove(0);
    assert!(!pod.to_string().contains("--states"));
}

#[test]
fn the_cni_plugin_is_installed_on_request_only_and_without_a_capability() {
    let (_, pod) = pods(DEFAULT).remove(0);
    assert_eq!(pod["initContainers"], Value::Null);
    let installs =
        "--set=clusterName=test,agent.cni.install=true,agent.cni.binDir=/var/lib/cni/bin";
    let (_, pod) = pods(&[installs]).remove(0);
    let [installer] = pod["initContainers"].as_array().unwrap().as_slice() else {
        panic!("one installs");
    };
    assert_eq!(installer["args"], json!(["install-cni", "--to=/node/cni"]));
    let context = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]}});
    assert_eq!(installer["securityContext"], context);
    let text = pod.to_string();
    assert!(text.contains(r#""path":"/var/lib/cni/bin""#), "{text}");
    assert!(text.contains("--socket=/run/eniway/agent.sock"), "{text}");
}

#[test]
fn the_agent_stays_away_from_nodes_that_are_not_ours() {
    let (_, agent) = pods(DEFAULT).remove(0);
    let terms =
        "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    assert_eq!(
        agent.pointer(terms).unwrap(),
        &json!([{"matchExpressions": [{
            "key": "eks.amazonaws.com/compute-type",
            "operator": "NotIn",
            "values": ["fargate", "auto", "hybrid"],
        }]}])
    );
}
