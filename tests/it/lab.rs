//! The lab itself: a real API server in namespaces, several at once, and nothing left behind.

use std::process::Command;

use lab::{Config, Lab};

fn start(config: Config) -> Lab {
    Lab::start(config, &|line| println!("{line}"))
        .expect("needs root and the programs of lab::requirements")
}

/// Needs root.
#[test]
fn an_api_server_answers_on_the_host_and_inside() {
    let lab = start(Config::control_plane_only());
    assert!(
        lab.kubectl(&["get", "namespaces"])
            .unwrap()
            .contains("kube-system")
    );
    let inside = lab
        .outer()
        .command(env_kubectl(&lab))
        .arg("--kubeconfig")
        .arg(lab.kubeconfig_inside())
        .args(["version", "-o", "json"])
        .read()
        .unwrap();
    assert!(inside.contains("v1.34.4"), "{inside}");
}

/// Needs root.
#[test]
fn a_token_of_a_service_account_has_only_its_rights() {
    let lab = start(Config::control_plane_only());
    lab.kubectl(&["create", "serviceaccount", "nobody"])
        .unwrap();
    let config = lab.kubeconfig_for("default", "nobody").unwrap();
    let list = |config: &std::path::Path| {
        let kubectl = Command::new(env_kubectl(&lab))
            .arg("--kubeconfig")
            .arg(config)
            .args(["get", "nodes"])
            .output();
        String::from_utf8_lossy(&kubectl.unwrap().stderr).into_owned()
    };
    assert!(
        list(&config.host).contains("forbidden"),
        "{}",
        list(&config.host)
    );
}

fn env_kubectl(lab: &Lab) -> std::ffi::OsString {
    lab.kubectl_command().get_program().to_owned()
}
