//! A release from its installation over the peer's definition to its end: real helm, real pods.

use std::{fs, process::Command};

use serde_json::Value;

use super::{
    chart,
    release::{Cluster, NAMESPACE, NODE_ENIS, RELEASE},
};
use crate::agent_node::DEADLINE;

/// An object of J's user, from before.
const STORED: &str = "
apiVersion: networking.k8s.aws/v1alpha1
kind: NodeENI
metadata: {name: stored}
spec: {nodeSelector: {ng: none}, subnetName: multus-a, securityGroupNames: [multus]}
";

/// The chart under another version, as an older release of it.
fn older_chart() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copy = Command::new("cp")
        .arg("-r")
        .arg(chart())
        .arg(folder.path().join("eniway"))
        .status();
    assert!(copy.unwrap().success());
    let path = folder.path().join("eniway/Chart.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let lines = text
        .lines()
        .map(|line| match line.strip_prefix("version:") {
            Some(_) => "version: 0.0.1",
            None => line,
        });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    folder
}

/// How many replicas the controller has, and what it logs.
fn controller(cluster: &Cluster) -> (u64, String) {
    let deployment = cluster.get(&["deployment", "eniway-controller"]);
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    let env = containers[0]["env"].as_array().unwrap();
    let level = env.iter().find(|one| one["name"] == "LOG_LEVEL").unwrap();
    let replicas = deployment["status"]["readyReplicas"].as_u64().unwrap();
    (replicas, level["value"].as_str().unwrap().to_owned())
}

fn stored(cluster: &Cluster) -> Value {
    cluster.get(&["neni", "stored"])["metadata"]["uid"].clone()
}

/// Needs root, and minutes to build the images the first time.
#[test]
fn a_release_is_installed_over_the_peers_definition_upgraded_rolled_back_and_removed() {
    let cluster = Cluster::start();
    cluster.define_as_the_peer_does();
    cluster.lab.apply(STORED).unwrap();
    let values = cluster.values();
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    let uid = stored(&cluster);
    assert!(!cluster.serves_ours());

    let older = older_chart();
    let older = older.path().join("eniway");
    let install = [
        "install",
        "eniway",
        older.to_str().unwrap(),
        "--create-namespace",
    ];
    cluster.helm(&[&install[..], &RELEASE, &values].concat());
    assert!(cluster.serves_ours(), "the hook takes the definition over");
    assert_eq!(stored(&cluster), uid);
    assert_eq!(controller(&cluster), (2, "info".to_owned()));

    // What an older release served lacks what a newer one brings.
    let field =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/sourceDestCheck";
    let patch = format!(r#"[{{"op": "remove", "path": "{field}"}}]"#);
    let patch = ["patch", "crd", NODE_ENIS, "--type=json", "-p", &patch];
    cluster.lab.kubectl(&patch).unwrap();
    assert!(!cluster.serves_ours());
    let newer = chart();
    let upgrade = ["upgrade", "eniway", newer.to_str().unwrap()];
    let changed = [
        "--reuse-values",
        "--set",
        "controller.replicas=1,logLevel=debug",
    ];
    cluster.helm(&[&upgrade[..], &RELEASE, &changed].concat());
    assert!(cluster.serves_ours(), "the upgrade applies it again");
    assert_eq!(controller(&cluster), (1, "debug".to_owned()));

    cluster.helm(&[&["rollback", "eniway", "1"][..], &RELEASE].concat());
    assert_eq!(controller(&cluster), (2, "info".to_owned()));
    assert!(cluster.serves_ours(), "a rollback takes no field away");
    assert_eq!(stored(&cluster), uid);

    cluster.helm(&[&["uninstall", "eniway"][..], &RELEASE].concat());
    // Pods end after their owners.
    let kinds = "all,serviceaccounts,roles,rolebindings,poddisruptionbudgets";
    let left = ["get", "-n", NAMESPACE, "-o", "name", kinds];
    cluster
        .lab
        .wait_kubectl("nothing of the release is left", DEADLINE, &left, |names| {
            !names.contains("/eniway-")
        })
        .unwrap();
    let roles = cluster
        .get(&["clusterroles,clusterrolebindings"])
        .to_string();
    assert!(!roles.contains("eniway"), "{roles}");
    // What users wrote is theirs, and what defines it stays with it.
    assert!(cluster.serves_ours());
    assert_eq!(stored(&cluster), uid);
}
