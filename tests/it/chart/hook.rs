//! The job that applies the definitions: its rights are enough, and what it applies is what is shown.

use std::fs;
use std::process::Command;

use lab::{Config, Lab};
use serde_json::Value;

use super::{DEFAULT, chart, name, render};

#[test]
fn the_definitions_that_are_shown_are_those_of_the_api() {
    let shown = fs::read_to_string(chart().join("files/crds.yaml")).unwrap();
    let same = shown == eniway_api::crds::yaml().unwrap();
    assert!(
        same,
        "charts/eniway/files/crds.yaml is old: run `cargo xtask crds`"
    );
}

#[test]
fn nothing_of_the_release_deletes_a_definition() {
    let objects = render(DEFAULT).unwrap();
    assert!(
        objects
            .iter()
            .all(|object| object["kind"] != "CustomResourceDefinition")
    );
    for hook in objects
        .iter()
        .filter(|object| name(object) == "eniway-crds")
    {
        let annotations = &hook["metadata"]["annotations"];
        assert_eq!(
            annotations["helm.sh/hook"],
            "pre-install,pre-upgrade,pre-rollback"
        );
        assert_eq!(
            annotations["helm.sh/hook-delete-policy"],
            "before-hook-creation,hook-succeeded"
        );
    }
}

/// Needs root.
#[test]
fn the_jobs_account_may_create_and_change_the_definitions() {
    let lab = Lab::start(Config::control_plane_only(), &|line| println!("{line}")).unwrap();
    lab.kubectl(&["create", "namespace", "eniway-system"])
        .unwrap();
    let rights = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"];
    for object in render(DEFAULT).unwrap() {
        if name(&object) == "eniway-crds" && rights.iter().any(|kind| object["kind"] == *kind) {
            lab.apply(&object.to_string()).unwrap();
        }
    }
    let account = lab.kubeconfig_for("eniway-system", "eniway-crds").unwrap();
    let kubectl = |arguments: &[&str]| {
        let output = Command::new(lab.kubectl_command().get_program())
            .arg("--kubeconfig")
            .arg(&account.host)
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(text)
    };
    let definitions = chart().join("files/crds.yaml");
    let apply = [
        "apply",
        "--server-side",
        "--filename",
        definitions.to_str().unwrap(),
    ];
    kubectl(&apply).expect("it may create them");
    kubectl(&apply).expect("it may change them");
    kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/nodeenis.networking.k8s.aws",
    ])
    .expect("it may wait for them");
    let error = kubectl(&["delete", "crd", "nodeenis.networking.k8s.aws"]).unwrap_err();
    assert!(error.contains("forbidden"), "{error}");
    let crd: Value = serde_json::from_str(
        &lab.kubectl(&["get", "crd", "nodeenis.networking.k8s.aws", "-o", "json"])
            .unwrap(),
    )
    .unwrap();
    assert!(crd["metadata"]["deletionTimestamp"].is_null());
}
