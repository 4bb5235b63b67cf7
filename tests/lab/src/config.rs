//! What a lab consists of.

use std::path::PathBuf;

use crate::binaries::{Binaries, Program};

/// The lab's region; zones are its name with a letter.
pub const REGION: &str = "us-west-2";

/// What a lab consists of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its programs come from.
    pub binaries: Binaries,
    /// Whether the controllers of Kubernetes run: garbage collection, namespaces, `DaemonSet`s.
    pub controller_manager: bool,
    /// Whether pods are scheduled.
    pub scheduler: bool,
    /// The nodes; they are called as these say.
    pub nodes: Vec<NodeConfig>,
    /// How EC2 behaves: its delays, limits and staleness.
    pub ec2: ec2_sim::Settings,
    /// Image archives that every real node imports.
    pub images: Vec<PathBuf>,
}

impl Config {
    /// An API server and nothing else: ready in 2 to 4 seconds.
    pub fn control_plane_only() -> Self {
        Self {
            binaries: Binaries::from_environment(None),
            controller_manager: false,
            scheduler: false,
            nodes: Vec::new(),
            ec2: ec2_sim::Settings::default(),
            images: Vec::new(),
        }
    }

    /// An API server and `count` nodes without a kubelet, to run an agent in as a process.
    pub fn bare(count: u8) -> Self {
        let nodes = (1..=count)
            .map(|number| NodeConfig::new(number, NodeKind::Bare))
            .collect();
        Self {
            nodes,
            ..Self::control_plane_only()
        }
    }

    /// A whole Kubernetes with `count` nodes that run pods.
    pub fn cluster(count: u8) -> Self {
        let nodes = (1..=count)
            .map(|number| NodeConfig::new(number, NodeKind::Kubelet))
            .collect();
        Self {
            nodes,
            controller_manager: true,
            scheduler: true,
            ..Self::control_plane_only()
        }
    }

    /// The programs it takes, without helm, which is looked for when it is used.
    pub fn programs(&self) -> Vec<Program> {
        let kubelet = self.nodes.iter().any(|node| node.kind == NodeKind::Kubelet);
        let all = [
            (Program::Etcd, true),
            (Program::KubeApiserver, true),
            (Program::Kubectl, true),
            (Program::KubeControllerManager, self.controller_manager),
            (Program::KubeScheduler, self.scheduler),
            (Program::Kubelet, kubelet),
        ];
        all.into_iter()
            .filter(|(_, wanted)| *wanted)
            .map(|(program, _)| program)
            .collect()
    }
}

/// What runs on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Namespaces and a `Node` object, which the lab writes.
    Bare,
    /// containerd and a kubelet, which run pods.
    Kubelet,
}

/// One node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its place in the lab, from 1; it decides its addresses.
    pub number: u8,
    /// Its name in Kubernetes, such as `node1`.
    pub name: String,
    /// What runs on it.
    pub kind: NodeKind,
    /// Its zone, such as `us-west-2a`.
    pub zone: String,
    /// Its EC2 instance.
    pub instance: String,
    /// Its EC2 instance type.
    pub instance_type: String,
    /// More labels of its `Node` object.
    pub labels: Vec<(String, String)>,
    /// The name that the first hot-plugged interface gets, less its device index: `eth` or `ens`.
    pub interface_prefix: String,
}

impl NodeConfig {
    /// Node `number`: odd ones are in zone a, even ones in zone b.
    pub fn new(number: u8, kind: NodeKind) -> Self {
        let letter = if number % 2 == 1 { 'a' } else { 'b' };
        Self {
            number,
            name: format!("node{number}"),
            kind,
            zone: format!("{REGION}{letter}"),
            instance: format!("i-{number:017x}"),
            instance_type: "m5.xlarge".to_owned(),
            labels: Vec::new(),
            interface_prefix: "eth".to_owned(),
        }
    }

    /// The same with one more label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// What the kubelet, or the lab, writes into `spec.providerID`.
    pub fn provider_id(&self) -> String {
        format!("aws:///{}/{}", self.zone, self.instance)
    }

    /// All labels of its `Node` object that do not come from the kubelet.
    pub fn all_labels(&self) -> Vec<(String, String)> {
        let mut labels = vec![
            ("topology.kubernetes.io/zone".to_owned(), self.zone.clone()),
            (
                "topology.kubernetes.io/region".to_owned(),
                REGION.to_owned(),
            ),
            (
                "node.kubernetes.io/instance-type".to_owned(),
                self.instance_type.clone(),
            ),
        ];
        labels.extend(self.labels.iter().cloned());
        labels
    }
}
