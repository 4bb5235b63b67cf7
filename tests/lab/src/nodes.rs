//! The lab's nodes: starts them side by side, finds them by name, takes them down.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cloud::Cloud;
use crate::config::{NodeConfig, NodeKind};
use crate::control_plane::ControlPlane;
use crate::error::Error;
use crate::images;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::state::State;
use crate::wait;

/// How long a kubelet may take to report a ready node; it takes 3 to 7 seconds.
const READY: Duration = Duration::from_secs(90);

/// The nodes that are up, by name.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Mutex<BTreeMap<String, Node>>);

impl Nodes {
    /// Boots the nodes side by side and waits until Kubernetes calls each ready.
    pub(crate) fn start(&self, nodes: &[NodeConfig], context: Context<'_>) -> Result<(), Error> {
        let mut images = Vec::new();
        if context.kubelet.is_some() {
            images = images::write_base(&context.state.folder().join("image"))?;
            images.extend_from_slice(context.images);
        }
        let images = &images;
        thread::scope(|scope| {
            let boot = |node| scope.spawn(move || context.start(node, images));
            let booting: Vec<_> = nodes.iter().map(boot).collect();
            for thread in booting {
                let node = thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                self.lock().insert(node.config.name.clone(), node);
            }
            Ok::<(), Error>(())
        })?;
        nodes
            .iter()
            .filter(|node| node.kind == NodeKind::Kubelet)
            .try_for_each(|node| self.wait_until_ready(&node.name, context))
    }

    fn wait_until_ready(&self, name: &str, context: Context<'_>) -> Result<(), Error> {
        let condition = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        wait::until(&format!("{name} is Ready"), READY, || {
            if let Some(ended) = self.lock().get_mut(name).and_then(Node::ended) {
                return Ok(Err(ended));
            }
            let output = context
                .plane
                .kubectl()
                .args(["get", "node", name, "-o", condition])
                .output();
            match output {
                Ok(output) if output.stdout == b"True" => Ok(Ok(())),
                Ok(_) | Err(_) => Err(crate::component::tail(
                    &context.state.log(&format!("{name}-kubelet")),
                )),
            }
        })?
    }

    /// The namespaces of a node.
    pub(crate) fn namespace(&self, name: &str) -> Result<Namespace, Error> {
        self.find(name, |node| node.namespace().clone())
    }

    /// What a node was made from.
    pub(crate) fn config(&self, name: &str) -> Result<NodeConfig, Error> {
        self.find(name, |node| node.config.clone())
    }

    fn find<T>(&self, name: &str, look: impl FnOnce(&Node) -> T) -> Result<T, Error> {
        let nodes = self.lock();
        nodes.get(name).map(look).ok_or_else(|| Error::NoNode {
            name: name.to_owned(),
            known: nodes.keys().cloned().collect::<Vec<_>>().join(" "),
        })
    }

    /// The command that opens a shell on each node.
    pub(crate) fn shells(&self) -> Vec<(String, String)> {
        self.lock()
            .iter()
            .map(|(name, node)| (name.clone(), node.shell()))
            .collect()
    }

    /// Makes an image archive known to every node that runs pods.
    pub(crate) fn import(&self, image: &Path) -> Result<(), Error> {
        self.lock()
            .values()
            .filter(|node| node.config.kind == NodeKind::Kubelet)
            .try_for_each(|node| node.import(image))
    }

    /// Starts a node's kubelet anew.
    pub(crate) fn restart_kubelet(&self, name: &str, context: Context<'_>) -> Result<(), Error> {
        let mut nodes = self.lock();
        let known = nodes.keys().cloned().collect::<Vec<_>>().join(" ");
        let node = nodes.get_mut(name).zip(context.kubelet);
        let (node, kubelet) = node.ok_or_else(|| Error::NoNode {
            name: name.to_owned(),
            known,
        })?;
        node.start_kubelet(kubelet, &context.plane.pki, context.state)
    }

    /// Pulls a node's plug: every process on it is killed, its interfaces go.
    pub(crate) fn take_down(&self, name: &str) {
        let node = self.lock().remove(name);
        drop(node);
    }

    /// The name of the node that is this EC2 instance.
    pub(crate) fn of_instance(&self, instance: &str) -> Option<NodeConfig> {
        self.lock()
            .values()
            .map(|node| &node.config)
            .find(|config| config.instance == instance)
            .cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        // A panic elsewhere leaves no node half inserted.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every node needs of the lab.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) outer: &'a Namespace,
    pub(crate) state: &'a State,
    pub(crate) plane: &'a ControlPlane,
    pub(crate) cloud: &'a Cloud,
    /// Archives that are imported besides the lab's own.
    pub(crate) images: &'a [PathBuf],
    /// The program, where a node has one.
    pub(crate) kubelet: Option<&'a Path>,
}

impl Context<'_> {
    fn start(self, config: &NodeConfig, images: &[PathBuf]) -> Result<Node, Error> {
        let mut node = Node::boot(config, self.outer, self.state, self.cloud)?;
        match (config.kind, self.kubelet) {
            (NodeKind::Kubelet, Some(kubelet)) => {
                node.run_kubelet(kubelet, images, &self.plane.pki, self.state)?;
            }
            (NodeKind::Kubelet | NodeKind::Bare, _) => self.register(config)?,
        }
        Ok(node)
    }

    /// Writes the `Node` object that a kubelet would write.
    fn register(self, config: &NodeConfig) -> Result<(), Error> {
        let manifest = node_object(config);
        let file = self.state.folder().join(&config.name).join("node.yaml");
        write_on_host(&file, &manifest)?;
        for (verb, more) in [
            ("create", &[][..]),
            ("replace", &["--subresource=status"][..]),
        ] {
            let mut command = self.plane.kubectl();
            command.arg(verb).args(more).arg("-f").arg(&file);
            let output = command.output().map_err(|source| Error::Spawn {
                program: "kubectl".to_owned(),
                source,
            })?;
            crate::error::good_end(&format!("kubectl {verb} node {}", config.name), &output)?;
        }
        Ok(())
    }
}

fn write_on_host(file: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(file, text).map_err(crate::state::failed(file))
}

fn node_object(config: &NodeConfig) -> String {
    let mut labels = String::new();
    for (key, value) in config.all_labels() {
        // Writing to a String cannot fail.
        let _ = writeln!(labels, "    {key}: \"{value}\"");
    }
    format!(
        r#"apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels:
    kubernetes.io/hostname: {name}
    kubernetes.io/os: linux
{labels}spec:
  providerID: {provider}
  podCIDR: {pods}
status:
  addresses:
  - {{type: InternalIP, address: {address}}}
  - {{type: Hostname, address: {name}}}
  conditions:
  - {{type: Ready, status: "True", reason: Bare, message: this node has no kubelet}}
"#,
        name = config.name,
        provider = config.provider_id(),
        pods = config.pod_cidr(),
        address = config.address(),
    )
}
