//! A running lab: how it starts, what it holds, how it ends.
//!
//! Its doors to Kubernetes are in `clients`, those to EC2 and the VPC in `region`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::binaries::Program;
use crate::cable::silence;
use crate::cloud::Cloud;
use crate::component::tail;
use crate::config::{Config, NodeConfig, NodeKind};
use crate::control_plane::ControlPlane;
use crate::error::Error;
use crate::host::Host;
use crate::namespace::{Holder, Namespace};
use crate::nodes::{Context, Nodes};
use crate::requirements;
use crate::state::State;
use crate::switch::Switch;

/// A Kubernetes that lives as long as this value, and no longer than this process.
///
/// Fields are dropped in this order: programs, then namespaces, then the state on disk.
#[derive(Debug)]
pub struct Lab {
    pub(crate) plane: Mutex<ControlPlane>,
    pub(crate) config: Config,
    pub(crate) kubectl: PathBuf,
    pub(crate) admin: PathBuf,
    pub(crate) admin_inside: PathBuf,
    pub(crate) url: String,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) cloud: Cloud,
    pub(crate) hosts: Mutex<Vec<Host>>,
    pub(crate) switch: Switch,
    pub(crate) vpc: Holder,
    pub(crate) outer: Holder,
    pub(crate) state: State,
}

impl Lab {
    /// Makes all that `config` says and returns when the API server, and each node, is ready.
    ///
    /// `progress` gets a line whenever something takes long enough to be told.
    pub fn start(config: Config, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        requirements::check(&config)?;
        let binaries = config.binaries.clone();
        let locate = |program| binaries.locate(program, progress).map_err(Error::from);
        // All builds happen before anything is started.
        for program in config.programs() {
            locate(program)?;
        }
        let state = State::new()?;
        let outer = Holder::new(state.id(), None)?;
        progress("starting etcd and the API server");
        let plane = ControlPlane::start(outer.namespace(), &state, &config, &locate)?;
        let vpc = Holder::new("vpc", Some(outer.namespace()))?;
        silence(vpc.namespace())?;
        let cloud = Cloud::start(&config, outer.namespace())?;
        let lab = Self {
            kubectl: plane.kubectl.clone(),
            admin: plane.admin.clone(),
            admin_inside: plane.admin_inside.clone(),
            url: plane.url(),
            plane: Mutex::new(plane),
            nodes: Arc::default(),
            cloud,
            hosts: Mutex::default(),
            switch: Switch::default(),
            vpc,
            config,
            outer,
            state,
        };
        lab.follow_ec2();
        lab.start_nodes(&lab.config.nodes, progress)?;
        Ok(lab)
    }

    /// Starts one more node, with an EC2 instance of its own, and waits until it is ready.
    ///
    /// Its name must be that of a number from 1 to 9: the API server knows only their tokens.
    pub fn add_node(&self, node: &NodeConfig, progress: &dyn Fn(&str)) -> Result<(), Error> {
        self.cloud.add_node(node)?;
        self.start_nodes(std::slice::from_ref(node), progress)
    }

    fn start_nodes(&self, nodes: &[NodeConfig], progress: &dyn Fn(&str)) -> Result<(), Error> {
        let [_, ..] = nodes else { return Ok(()) };
        progress("starting the nodes");
        let runs_pods = nodes.iter().any(|node| node.kind == NodeKind::Kubelet);
        let locate = || self.config.binaries.locate(Program::Kubelet, progress);
        let kubelet = runs_pods.then(locate).transpose()?;
        let plane = self.plane();
        self.nodes
            .start(nodes, self.context(&plane, kubelet.as_deref()))
    }

    fn context<'a>(&'a self, plane: &'a ControlPlane, kubelet: Option<&'a Path>) -> Context<'a> {
        Context {
            outer: self.outer.namespace(),
            state: &self.state,
            plane,
            cloud: &self.cloud,
            images: &self.config.images,
            kubelet,
        }
    }

    /// Kills a node's kubelet and starts it again; its pods run on.
    pub fn restart_kubelet(&self, node: &str) -> Result<(), Error> {
        let kubelet = self.config.binaries.locate(Program::Kubelet, &|_| ())?;
        let plane = self.plane();
        self.nodes
            .restart_kubelet(node, self.context(&plane, Some(&kubelet)))
    }

    /// The lab's unique name, such as `lab-3fa9c1d2`.
    pub fn id(&self) -> &str {
        self.state.id()
    }

    /// A folder that goes when the lab goes; for logs, sockets and manifests of tests.
    pub fn folder(&self) -> &Path {
        self.state.folder()
    }

    /// The last lines of a component's log: `etcd`, `kube-apiserver`, `node1-kubelet`, …
    pub fn logs(&self, component: &str) -> String {
        tail(&self.state.log(component))
    }

    /// Where a program that a test starts may log to.
    pub fn log_file(&self, component: &str) -> PathBuf {
        self.state.log(component)
    }

    /// The namespaces of a node: `lab.in_node("node1")?.command("ip").arg("link").read()`.
    ///
    /// # Errors
    ///
    /// There is no such node, or it was taken down.
    pub fn in_node(&self, name: &str) -> Result<Namespace, Error> {
        self.nodes.namespace(name)
    }

    /// What the nodes were made from.
    pub fn nodes(&self) -> &[NodeConfig] {
        &self.config.nodes
    }

    /// Makes an image archive known to every node that runs pods.
    pub fn import_image(&self, archive: &Path) -> Result<(), Error> {
        self.nodes.import(archive)
    }

    /// The namespaces of the control plane.
    pub fn outer(&self) -> &Namespace {
        self.outer.namespace()
    }

    /// Kills the API server and starts it again.
    pub fn restart_apiserver(&self) -> Result<(), Error> {
        let locate = |program| {
            self.config
                .binaries
                .locate(program, &|_| ())
                .map_err(Error::from)
        };
        self.plane()
            .restart_apiserver(self.outer.namespace(), &self.state, &locate)
    }

    /// What a person needs to know to play with a lab that is held.
    pub fn hold(&self) -> String {
        let mut text = format!(
            "{id} is running.\n  kubectl   export KUBECONFIG={config}\n            alias kubectl={kubectl}\n  \
             EC2       {ec2} on this machine, {inside} on nodes\n  logs      {logs}\n",
            id = self.id(),
            config = self.admin.display(),
            kubectl = self.kubectl.display(),
            ec2 = self.ec2_url(),
            inside = self.ec2_url_inside(),
            logs = self.folder().join("log").display(),
        );
        for (name, shell) in self.nodes.shells() {
            text.push_str(&format!("  {name:<9} {shell}\n"));
        }
        text
    }

    pub(crate) fn plane(&self) -> std::sync::MutexGuard<'_, ControlPlane> {
        // A panic elsewhere leaves nothing half done in here.
        self.plane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Their sockets would keep the network namespaces.
        self.switch.unplug_all();
    }
}
