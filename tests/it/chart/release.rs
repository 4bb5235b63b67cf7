//! A cluster in which releases are installed: real helm, a real kubelet, the images of this source.

use std::{env, path::PathBuf, process::Command};

use lab::{Config, Lab};
use serde_json::Value;

use super::chart;
use crate::{agent_node::established, cases::PEER_CRD};

pub(super) const NODE_ENIS: &str = "nodeenis.networking.k8s.aws";
pub(super) const NAMESPACE: &str = "eniway-system";
/// Of the chart's release, and until its pods are ready, or gone.
pub(super) const RELEASE: [&str; 5] = ["--namespace", NAMESPACE, "--wait", "--timeout", "3m"];

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

/// A cluster of one node.
pub(super) struct Cluster {
    pub(super) lab: Lab,
}

impl Cluster {
    /// Needs root, and minutes to build the images the first time.
    pub(super) fn start() -> Self {
        let config = Config {
            images: images(),
            ..Config::cluster(1)
        };
        let lab = Lab::start(config, &|line| println!("{line}")).unwrap();
        Self { lab }
    }

    /// Writes J's definition of NodeENI, as its chart does.
    pub(super) fn define_as_the_peer_does(&self) {
        self.lab.apply(PEER_CRD).unwrap();
        established(&self.lab, NODE_ENIS);
    }

    /// What `helm install` of the chart needs to know of this cluster.
    pub(super) fn values(&self) -> Vec<String> {
        [
            "clusterName=lab,agent.acceptVirtual=true".to_owned(),
            format!("awsRegion={}", lab::REGION),
            format!("aws.endpointUrl={}", self.lab.ec2_url_inside()),
            "controller.env[0].name=AWS_ACCESS_KEY_ID,controller.env[0].value=lab".to_owned(),
            "controller.env[1].name=AWS_SECRET_ACCESS_KEY,controller.env[1].value=lab".to_owned(),
        ]
        .into_iter()
        .flat_map(|value| ["--set".to_owned(), value])
        .collect()
    }

    pub(super) fn helm(&self, arguments: &[&str]) -> String {
        let done = self.lab.helm(arguments, &|line| println!("{line}"));
        done.unwrap_or_else(|error| {
            let seen = ["get", "-A", "pods,jobs,events", "-o", "wide"];
            panic!("{error}\n{}", self.lab.kubectl(&seen).unwrap())
        })
    }

    pub(super) fn get(&self, arguments: &[&str]) -> Value {
        let all = [&["get", "-n", NAMESPACE, "-o", "json"], arguments].concat();
        serde_json::from_str(&self.lab.kubectl(&all).unwrap()).unwrap()
    }

    /// Whether the definition that is served has our fields.
    pub(super) fn serves_ours(&self) -> bool {
        let crd = self.get(&["crd", NODE_ENIS]);
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["properties"]["spec"]["properties"]["sourceDestCheck"].is_object()
    }
}
