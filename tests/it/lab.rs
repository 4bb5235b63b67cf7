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

/// Needs root.
#[test]
fn a_bare_node_has_a_provider_id_and_its_own_network_and_bpffs() {
    let lab = start(Config::bare(2));
    let ids = lab
        .kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].spec.providerID}"])
        .unwrap();
    assert_eq!(
        ids,
        "aws:///us-west-2a/i-00000000000000001 aws:///us-west-2b/i-00000000000000002"
    );
    let node = lab.in_node("node1").unwrap();
    assert!(
        node.command("ip")
            .args(["-br", "address"])
            .read()
            .unwrap()
            .contains("10.200.1.11/24")
    );
    assert!(
        node.command("stat")
            .args(["-f", "-c", "%T", "/sys/fs/bpf"])
            .read()
            .unwrap()
            .contains("bpf")
    );
    assert_eq!(
        node.command("ls").arg("/sys/class/net").read().unwrap(),
        "eth0\nlo\n"
    );
    node.command("ping")
        .args(["-c1", "-W2", "10.200.2.12"])
        .read()
        .expect("the nodes reach each other");
}

/// Needs root.
#[test]
fn two_real_nodes_run_pods_that_reach_each_other() {
    let lab = start(Config::cluster(2));
    let pod = |name: &str, node: &str, command: &str| {
        format!(
            r#"
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: c, image: "registry.local/busybox:1", imagePullPolicy: Never, command: [sh, -c, "{command}"]}}
"#
        )
    };
    let server = pod(
        "server",
        "node1",
        "echo hello > /www/index.html; exec httpd -f -p 8080 -h /www",
    );
    let client = pod("client", "node2", "exec sleep 1000");
    let deadline = std::time::Duration::from_secs(60);
    let account = ["get", "serviceaccount", "default"];
    lab.wait_kubectl(
        "there is a default service account",
        deadline,
        &account,
        |_| true,
    )
    .unwrap();
    lab.apply(&format!("{server}{client}")).unwrap();
    lab.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod",
        "--all",
        "--timeout=60s",
    ])
    .unwrap();
    let ip = lab
        .kubectl(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])
        .unwrap();
    let url = format!("http://{ip}:8080/");
    let page = lab
        .kubectl(&["exec", "client", "--", "wget", "-qO-", &url])
        .unwrap();
    assert_eq!(page, "hello\n");
}
