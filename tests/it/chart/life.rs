//! A release from its installation over the peer's definition to its end: real helm, real pods.

use std::{env, fs, path::PathBuf, process::Command};

use lab::{Config, Lab};
use serde_json::Value;

use super::chart;
use crate::{
    agent_node::{DEADLINE, established},
    cases::PEER_CRD,
};

const NODE_ENIS: &str = "nodeenis.networking.k8s.aws";
const NAMESPACE: &str = "eniway-system";

/// An object of J's user, from before.
const STORED: &str = "
apiVersion: networking.k8s.aws/v1alpha1
kind: NodeENI
metadata: {name: stored}
spec: {nodeSelector: {ng: none}, subnetName: multus-a, securityGroupNames: [multus]}
";

/// The images of this source, as `cargo xtask image` puts them beside the test's own target.
fn images() -> Vec<PathBuf> {
    let test = env::current_exe().unwrap();
    // The test is <target>/<profile>/deps/it-<hash>.
    let target = test.ancestors().nth(3).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["xtask", "image"])
        .current_dir(chart())
        .env("CARGO_TARGET_DIR", target);
    assert!(cargo.status().unwrap().success(), "there are no images");
    ["controller", "agent"]
        .map(|name| target.join(format!("images/eniway-{name}.tar")))
        .into()
}

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

struct Release(Lab);

impl Release {
    fn helm(&self, arguments: &[&str]) -> String {
        let all = [arguments, &["--namespace", NAMESPACE]].concat();
        let done = self.0.helm(&all, &|line| println!("{line}"));
        done.unwrap_or_else(|error| {
            let seen = ["-n", NAMESPACE, "get", "pods,jobs,events", "-o", "wide"];
            panic!("{error}\n{}", self.0.kubectl(&seen).unwrap())
        })
    }

    fn get(&self, arguments: &[&str]) -> Value {
        let all = [&["get", "-n", NAMESPACE, "-o", "json"], arguments].concat();
        serde_json::from_str(&self.0.kubectl(&all).unwrap()).unwrap()
    }

    /// How many replicas the controller has, and what it logs.
    fn controller(&self) -> (u64, String) {
        let deployment = self.get(&["deployment", "eniway-controller"]);
        let containers = &deployment["spec"]["template"]["spec"]["containers"];
        let env = containers[0]["env"].as_array().unwrap();
        let level = env.iter().find(|one| one["name"] == "LOG_LEVEL").unwrap();
        let replicas = deployment["status"]["readyReplicas"].as_u64().unwrap();
        (replicas, level["value"].as_str().unwrap().to_owned())
    }

    /// Whether the definition that is served has our fields.
    fn serves_ours(&self) -> bool {
        let crd = self.get(&["crd", NODE_ENIS]);
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["properties"]["spec"]["properties"]["sourceDestCheck"].is_object()
    }

    fn stored(&self) -> Value {
        self.get(&["neni", "stored"])["metadata"]["uid"].clone()
    }
}

/// Needs root, and minutes to build the images the first time.
#[test]
fn a_release_is_installed_over_the_peers_definition_upgraded_rolled_back_and_removed() {
    let config = Config {
        images: images(),
        ..Config::cluster(1)
    };
    let lab = Lab::start(config, &|line| println!("{line}")).unwrap();
    lab.apply(PEER_CRD).unwrap();
    established(&lab, NODE_ENIS);
    lab.apply(STORED).unwrap();
    lab.kubectl(&["create", "namespace", NAMESPACE]).unwrap();
    let endpoint = format!("aws.endpointUrl={}", lab.ec2_url_inside());
    let region = format!("awsRegion={}", lab::REGION);
    let release = Release(lab);
    let uid = release.stored();
    assert!(!release.serves_ours());

    let older = older_chart();
    let older = older.path().join("eniway");
    let install = ["install", "eniway", older.to_str().unwrap()];
    let wait = ["--wait", "--timeout", "3m"];
    let values = [
        "--set",
        "clusterName=lab,agent.acceptVirtual=true",
        "--set",
        &region,
        "--set",
        &endpoint,
        "--set",
        "controller.env[0].name=AWS_ACCESS_KEY_ID,controller.env[0].value=lab",
        "--set",
        "controller.env[1].name=AWS_SECRET_ACCESS_KEY,controller.env[1].value=lab",
    ];
    release.helm(&[&install[..], &wait, &values].concat());
    assert!(release.serves_ours(), "the hook takes the definition over");
    assert_eq!(release.stored(), uid);
    assert_eq!(release.controller(), (2, "info".to_owned()));

    // What an older release served lacks what a newer one brings.
    let field =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/sourceDestCheck";
    let patch = format!(r#"[{{"op": "remove", "path": "{field}"}}]"#);
    let patch = ["patch", "crd", NODE_ENIS, "--type=json", "-p", &patch];
    release.0.kubectl(&patch).unwrap();
    assert!(!release.serves_ours());
    let newer = chart();
    let upgrade = ["upgrade", "eniway", newer.to_str().unwrap()];
    let changed = [
        "--reuse-values",
        "--set",
        "controller.replicas=1,logLevel=debug",
    ];
    release.helm(&[&upgrade[..], &wait, &changed].concat());
    assert!(release.serves_ours(), "the upgrade applies it again");
    assert_eq!(release.controller(), (1, "debug".to_owned()));

    release.helm(&[&["rollback", "eniway", "1"][..], &wait].concat());
    assert_eq!(release.controller(), (2, "info".to_owned()));
    assert!(release.serves_ours(), "a rollback takes no field away");
    assert_eq!(release.stored(), uid);

    release.helm(&[&["uninstall", "eniway"][..], &wait].concat());
    // Pods end after their owners.
    let kinds = "all,serviceaccounts,roles,rolebindings,poddisruptionbudgets";
    let left = ["get", "-n", NAMESPACE, "-o", "name", kinds];
    release
        .0
        .wait_kubectl("nothing of the release is left", DEADLINE, &left, |names| {
            !names.contains("/eniway-")
        })
        .unwrap();
    let roles = release
        .get(&["clusterroles,clusterrolebindings"])
        .to_string();
    assert!(!roles.contains("eniway"), "{roles}");
    // What users wrote is theirs, and what defines it stays with it.
    assert!(release.serves_ours());
    assert_eq!(release.stored(), uid);
}
