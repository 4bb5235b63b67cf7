//! A node, the real agent on it, the controller in this process, and the VPC that J's manifests name.

use std::{collections::BTreeMap, fs, path::Path};

use ec2_sim::{GroupId, GroupSpec, Interface, SubnetId, SubnetSpec};
use eniway_api::mark;
use eniway_controller::{Config, kubernetes::ApiServer};
use lab::{Lab, NodeConfig, NodeKind, wait};
use serde_json::{Value, json};
use simulation::door::Door;
use tokio_util::sync::CancellationToken;

use crate::agent_node::{AgentNode, DEADLINE};

/// What J's samples name, in the zone of the node.
const SUBNETS: [(&str, &str, &str); 2] = [
    (
        "subnet-08c2ddc07218f1105",
        "multus-test-subnet-1",
        "10.200.111.0/24",
    ),
    (
        "subnet-08c2ddc07218f1106",
        "multus-test-subnet-2",
        "10.200.112.0/24",
    ),
];
const GROUP: (&str, &str) = ("sg-0e4680d35b5053f29", "multus-test-sg");

/// All parts of eniway, at work on one node.
pub(crate) struct Rig {
    pub(crate) node: AgentNode,
    runtime: Option<tokio::runtime::Runtime>,
    shutdown: CancellationToken,
}

impl Rig {
    /// Needs root. `before` comes before our definitions.
    pub(crate) fn start(before: impl FnOnce(&Lab)) -> Self {
        let config = lab::Config {
            nodes: vec![NodeConfig::new(1, NodeKind::Bare).label("ng", "multi-eni")],
            ..lab::Config::control_plane_only()
        };
        let lab = Lab::start(config, &|line| println!("{line}"))
            .expect("needs root and the programs of lab::requirements");
        build_vpc(&lab);
        before(&lab);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(client(lab.kubeconfig()));
        let crds = eniway_controller::kubernetes::apply_crds(&client);
        runtime.block_on(crds).unwrap();
        let mut node = AgentNode::in_lab(lab);
        let shutdown = CancellationToken::new();
        let door = Door::of(node.lab.ec2().clone());
        let controller = eniway_controller::run(
            Config::embedded("test"),
            ApiServer::new(client, "test"),
            door,
            shutdown.clone(),
        );
        runtime.spawn(async {
            controller
                .await
                .expect("the controller runs until it is told to stop");
        });
        node.start_agent(&[]);
        Self {
            node,
            runtime: Some(runtime),
            shutdown,
        }
    }

    /// Waits until the NodeENI says that all it asks for is there, and gives its status.
    pub(crate) fn ready(&self, name: &str, interfaces: usize) -> Value {
        let whole = json!([1, interfaces, interfaces, interfaces]);
        let what = format!("{name} is Ready with {interfaces} interfaces");
        self.wait_for(name, &what, |status| {
            let counts = ["nodes", "desired", "attached", "ready"].map(|count| &status[count]);
            let listed = status["attachments"].as_array().map_or(0, Vec::len);
            json!(counts) == whole
                && listed == interfaces
                && condition(status, "Ready")["status"] == "True"
        })
    }

    /// Waits until the NodeENI's status is such that `accept` takes it, and of its last generation.
    pub(super) fn wait_for(
        &self,
        name: &str,
        what: &str,
        accept: impl Fn(&Value) -> bool,
    ) -> Value {
        let seen = wait::until(what, DEADLINE, || {
            let object = self.get(name);
            let (status, generation) = (&object["status"], &object["metadata"]["generation"]);
            match status["observedGeneration"] == *generation && accept(status) {
                true => Ok(status.clone()),
                false => Err(status.to_string()),
            }
        });
        seen.unwrap_or_else(|error| panic!("{error}\n{}", self.node.lab.logs("agent")))
    }

    /// The NodeENI as kubectl gives it.
    pub(crate) fn get(&self, name: &str) -> Value {
        let text = self.node.lab.kubectl(&["get", "neni", name, "-o", "json"]);
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    /// Every interface in EC2 that bears our mark, by device index.
    pub(crate) fn interfaces(&self) -> Vec<Interface> {
        let ours = |eni: &&Interface| eni.tags.contains_key(mark::TAG_CLUSTER_UID);
        let mut all: Vec<Interface> = self
            .node
            .lab
            .ec2()
            .with_world(|world, _| world.interfaces().filter(ours).cloned().collect());
        all.sort_by_key(|eni| eni.attachment.as_ref().map(|place| place.slot.index));
        all
    }

    /// Deletes every NodeENI; nothing of them is left when this returns.
    pub(crate) fn delete_all(&self) {
        let enis = self.interfaces();
        let delete = ["delete", "neni", "--all", "--timeout=60s"];
        self.node.lab.kubectl(&delete).unwrap();
        assert_eq!(self.interfaces(), []);
        for eni in enis {
            assert_eq!(self.node.pins_of(eni.id.as_str()), Vec::<String>::new());
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One of J's manifests, as it is in the folder.
pub(super) fn manifest(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    fs::read_to_string(folder.join(name).with_extension("yaml")).unwrap()
}

/// The condition of this type, or null.
pub(super) fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let all = status["conditions"].as_array();
    let mut all = all.into_iter().flatten();
    all.find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}

fn build_vpc(lab: &Lab) {
    let zone = lab.nodes()[0].zone.clone();
    let named = |name: &str| BTreeMap::from([("Name".to_owned(), name.to_owned())]);
    lab.ec2().with_world(|world, _| {
        for (id, name, cidr) in SUBNETS {
            let subnet = SubnetSpec {
                id: Some(SubnetId::parse(id).unwrap()),
                vpc: None,
                zone: zone.clone(),
                cidr: cidr.parse().unwrap(),
                ipv6_cidr: None,
                tags: named(name),
            };
            world.add_subnet(subnet).unwrap();
        }
        let (id, name) = GROUP;
        let group = GroupSpec {
            id: Some(GroupId::parse(id).unwrap()),
            name: name.to_owned(),
            vpc: None,
            tags: named(name),
        };
        world.add_group(group).unwrap();
    });
}

async fn client(kubeconfig: &Path) -> kube::Client {
    let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options).await;
    kube::Client::try_from(config.unwrap()).unwrap()
}
