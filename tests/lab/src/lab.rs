//! A running lab and the doors to it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command as HostCommand, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::binaries::Program;
use crate::cable::{Cabling, silence};
use crate::cloud::Cloud;
use crate::component::tail;
use crate::config::{Config, NodeConfig};
use crate::control_plane::ControlPlane;
use crate::error::{Error, good_end};
use crate::host::Host;
use crate::namespace::{Holder, Namespace};
use crate::nodes::Nodes;
use crate::requirements;
use crate::state::State;
use crate::switch::Switch;
use crate::vpc::Subnet;
use crate::wait;
use crate::wire::Wire;

/// How long a node may wait for a cable; EC2 takes a tenth of a second, the cable as long.
const PLUGGED: Duration = Duration::from_secs(10);

/// A Kubernetes that lives as long as this value, and no longer than this process.
///
/// Fields are dropped in this order: programs, then namespaces, then the state on disk.
#[derive(Debug)]
pub struct Lab {
    plane: Mutex<ControlPlane>,
    config: Config,
    kubectl: PathBuf,
    admin: PathBuf,
    admin_inside: PathBuf,
    url: String,
    nodes: Arc<Nodes>,
    cloud: Cloud,
    hosts: Mutex<Vec<Host>>,
    switch: Switch,
    vpc: Holder,
    outer: Holder,
    state: State,
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
        if !lab.config.nodes.is_empty() {
            progress("starting the nodes");
            let kubelet = lab.config.programs().contains(&Program::Kubelet);
            let kubelet = kubelet.then(|| locate(Program::Kubelet)).transpose()?;
            lab.nodes.start(
                &lab.config,
                lab.outer.namespace(),
                &lab.state,
                &lab.plane(),
                &lab.cloud,
                kubelet.as_ref(),
            )?;
        }
        Ok(lab)
    }

    /// The lab's unique name, such as `lab-3fa9c1d2`.
    pub fn id(&self) -> &str {
        self.state.id()
    }

    /// A folder that goes when the lab goes; for logs, sockets and manifests of tests.
    pub fn folder(&self) -> &Path {
        self.state.folder()
    }

    /// The administrator's kubeconfig for programs on the host.
    pub fn kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// The administrator's kubeconfig for programs on nodes.
    pub fn kubeconfig_inside(&self) -> &Path {
        &self.admin_inside
    }

    /// The API server's URL on the host.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes kubeconfigs for a service account that exists: one for the host, one for nodes.
    ///
    /// The token is a real one, so RBAC holds for it.
    pub fn kubeconfig_for(
        &self,
        namespace: &str,
        service_account: &str,
    ) -> Result<Kubeconfigs, Error> {
        let token = self.kubectl(&[
            "create",
            "token",
            "-n",
            namespace,
            service_account,
            "--duration=8h",
        ])?;
        let name = format!("{namespace}.{service_account}");
        let plane = self.plane();
        Ok(Kubeconfigs {
            host: plane.pki.kubeconfig(&name, &self.url, token.trim())?,
            inside: plane.pki.kubeconfig(
                &format!("{name}-inside"),
                &ControlPlane::url_inside(),
                token.trim(),
            )?,
        })
    }

    /// Runs kubectl on the host, as the administrator, and gives what it wrote.
    pub fn kubectl(&self, args: &[&str]) -> Result<String, Error> {
        let output = self
            .kubectl_command()
            .args(args)
            .output()
            .map_err(|source| Error::Spawn {
                program: "kubectl".to_owned(),
                source,
            })?;
        good_end(&format!("kubectl {}", args.join(" ")), &output)
    }

    /// A kubectl command to add arguments to.
    pub fn kubectl_command(&self) -> HostCommand {
        let mut command = HostCommand::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.admin);
        command
    }

    /// Applies manifests, in YAML, by server-side apply.
    pub fn apply(&self, manifests: &str) -> Result<String, Error> {
        self.kubectl_with_input(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            manifests,
        )
    }

    /// Runs kubectl with something to read.
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String, Error> {
        let spawn = |source| Error::Spawn {
            program: "kubectl".to_owned(),
            source,
        };
        let mut child = self
            .kubectl_command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(spawn)?;
        let mut stdin = child.stdin.take().expect("the standard input is a pipe");
        // A kubectl that does not read to the end says why in its own words.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().map_err(spawn)?;
        good_end(&format!("kubectl {}", args.join(" ")), &output)
    }

    /// Runs helm on the host, as the administrator, and gives what it wrote.
    pub fn helm(&self, args: &[&str], progress: &dyn Fn(&str)) -> Result<String, Error> {
        let helm = self.config.binaries.locate(Program::Helm, progress)?;
        let output = HostCommand::new(helm)
            .arg("--kubeconfig")
            .arg(&self.admin)
            .args(args)
            // Helm's caches stay out of the home folder.
            .env("HELM_CACHE_HOME", self.folder().join("helm/cache"))
            .env("HELM_CONFIG_HOME", self.folder().join("helm/config"))
            .env("HELM_DATA_HOME", self.folder().join("helm/data"))
            .output()
            .map_err(|source| Error::Spawn {
                program: "helm".to_owned(),
                source,
            })?;
        good_end(&format!("helm {}", args.join(" ")), &output)
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

    /// The simulated EC2: its world, its faults, its counters.
    pub fn ec2(&self) -> &ec2_sim::Server {
        self.cloud.server()
    }

    /// EC2's endpoint for programs on the host.
    pub fn ec2_url(&self) -> String {
        self.cloud.url()
    }

    /// EC2's endpoint for programs on nodes and in pods.
    pub fn ec2_url_inside(&self) -> String {
        Cloud::url_inside()
    }

    /// Starts another host of the VPC in a subnet, such as `multus-a` or `hosts-b`.
    pub fn host(&self, name: &str, subnet: &str) -> Result<Host, Error> {
        let (outer, vpc) = (self.outer.namespace(), self.vpc.namespace());
        let host = Host::start(name, subnet, outer, vpc, &self.cloud, &self.switch)?;
        // A panic elsewhere leaves no host half inserted.
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(host.clone());
        Ok(host)
    }

    /// Creates an ENI in a subnet, such as `multus-a`, and attaches it to a node, without a
    /// controller; returns once the node has the interface.
    pub fn attach_interface(
        &self,
        node: &str,
        subnet: &str,
        index: u32,
    ) -> Result<Attached, Error> {
        let inside = self.in_node(node)?;
        let config = self.config.nodes.iter().find(|config| config.name == node);
        let config = config.expect("a node that is up was configured");
        let interface = self
            .cloud
            .attach(Subnet::find(subnet)?, &config.instance, index)?;
        let what = format!(
            "{node} has an interface with the MAC address {}",
            interface.mac
        );
        let name = wait::until(&what, PLUGGED, || {
            let links = inside
                .command("ip")
                .args(["-o", "link"])
                .read()
                .map_err(|error| error.to_string())?;
            let line = links.lines().find(|line| line.contains(&interface.mac));
            let name = line
                .and_then(|line| line.split([':', '@']).nth(1))
                .map(|name| name.trim().to_owned());
            name.ok_or_else(|| format!("{links}\n{}", self.logs("cabling")))
        })?;
        Ok(Attached {
            eni: interface.id.as_str().to_owned(),
            name,
            interface,
        })
    }

    /// Detaches an ENI, without a controller; does not wait.
    pub fn detach_interface(&self, eni: &str) -> Result<(), Error> {
        self.cloud.detach(eni)
    }

    /// The wire of an ENI, to look at and to put hostile frames on.
    pub fn wire(&self, eni: &str) -> Wire {
        Wire::new(self.switch.clone(), eni)
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

    /// Waits until kubectl with `args` writes something that `accept` takes.
    pub fn wait_kubectl(
        &self,
        what: &str,
        deadline: Duration,
        args: &[&str],
        mut accept: impl FnMut(&str) -> bool,
    ) -> Result<String, Error> {
        wait::until(what, deadline, || match self.kubectl(args) {
            Ok(text) if accept(&text) => Ok(text),
            Ok(text) => Err(text),
            Err(error) => Err(error.to_string()),
        })
    }

    /// What a person needs to know to play with a lab that is held.
    pub fn hold(&self) -> String {
        format!(
            "the lab {} is running\n  kubectl:  export KUBECONFIG={}\n            {} get nodes\n  logs:     {}\n",
            self.id(),
            self.admin.display(),
            self.kubectl.display(),
            self.folder().join("log").display(),
        )
    }

    fn follow_ec2(&self) {
        let mut cabling = Cabling {
            server: self.cloud.server().clone(),
            nodes: Arc::clone(&self.nodes),
            switch: self.switch.clone(),
            vpc: self.vpc.namespace().clone(),
            ends: BTreeMap::new(),
            next: 0,
            report: Box::new(report_to(self.state.log("cabling"))),
        };
        self.cloud.follow(move |what| cabling.handle(what));
    }

    fn plane(&self) -> std::sync::MutexGuard<'_, ControlPlane> {
        // A panic elsewhere leaves nothing half done in here.
        self.plane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An ENI that the lab attached to a node.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its id.
    pub eni: String,
    /// The interface's name on the node.
    pub name: String,
    /// The ENI as EC2 knew it when it was attached.
    pub interface: ec2_sim::Interface,
}

/// Two kubeconfigs of one service account.
#[derive(Clone, Debug)]
pub struct Kubeconfigs {
    /// For programs on the host.
    pub host: PathBuf,
    /// For programs on nodes.
    pub inside: PathBuf,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Their sockets would keep the network namespaces.
        self.switch.unplug_all();
    }
}

/// Appends lines to a log.
fn report_to(log: PathBuf) -> impl Fn(&str) {
    move |line| {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log);
        // There is nobody to tell that a log cannot be written.
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
}
