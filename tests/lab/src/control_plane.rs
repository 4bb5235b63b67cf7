//! etcd, the API server and, where wanted, controller manager and scheduler, in the outer namespaces.

mod credentials;
mod flags;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};

use crate::binaries::Program;
use crate::component::{Component, tail};
use crate::config::Config;
use crate::error::Error;
use crate::forward::Forward;
use crate::namespace::Namespace;
use crate::node::{self, BRIDGE};
use crate::pki::Pki;
use crate::state::State;
use crate::vpc::NODE_SUBNETS;
use crate::wait;

use credentials::credentials;
use flags::etcd_flags;

/// The outer side's address: the API server and EC2 are there for nodes and pods.
pub const GATEWAY: &str = "10.200.0.1";
/// What every node has as the gateway's neighbour.
const GATEWAY_MAC: &str = "02:00:00:00:00:01";
/// The cluster address of the service `kubernetes`; there is no kube-proxy, so it lies on `lo`.
const SERVICE: &str = "10.96.0.1";
const PORT: u16 = 443;
/// How long a control plane may take to answer; it takes 2 to 5 seconds.
const READY: Duration = Duration::from_secs(60);

/// The running programs and the ways to them.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) pki: Pki,
    pub(crate) kubectl: PathBuf,
    /// For programs on the host.
    pub(crate) admin: PathBuf,
    /// For programs inside.
    pub(crate) admin_inside: PathBuf,
    forward: Forward,
    components: Vec<Component>,
}

/// Finds a program of the lab, or builds it.
pub(crate) type Locate<'a> = &'a dyn Fn(Program) -> Result<PathBuf, Error>;

impl ControlPlane {
    /// Starts all that `config` asks for and waits until the API server is ready.
    pub(crate) fn start(
        outer: &Namespace,
        state: &State,
        config: &Config,
        locate: Locate<'_>,
    ) -> Result<Self, Error> {
        let etcd = locate(Program::Etcd)?;
        let apiserver = locate(Program::KubeApiserver)?;
        let kubectl = locate(Program::Kubectl)?;
        prepare(outer)?;
        let forward = Forward::new(
            outer,
            SocketAddr::new(GATEWAY.parse().expect("GATEWAY is an address"), PORT),
        )?;
        let pki = Pki::new(&state.folder().join("pki"))?;
        let (admin, admin_inside) = credentials(&pki, config, forward.address())?;
        let mut plane = Self {
            pki,
            kubectl,
            admin,
            admin_inside,
            forward,
            components: Vec::new(),
        };

        let data = state.folder().join("etcd");
        plane.run(
            "etcd",
            outer
                .command(etcd)
                .args(etcd_flags())
                .arg("--data-dir")
                .arg(data),
            state,
        )?;
        plane.run(
            "kube-apiserver",
            outer.command(apiserver).args(plane.apiserver_flags()),
            state,
        )?;
        plane.wait_until_ready(outer, state)?;
        if config.controller_manager {
            let program = locate(Program::KubeControllerManager)?;
            plane.run(
                "kube-controller-manager",
                outer.command(program).args(plane.manager_flags()),
                state,
            )?;
        }
        if config.scheduler {
            let program = locate(Program::KubeScheduler)?;
            plane.run(
                "kube-scheduler",
                outer.command(program).args(plane.scheduler_flags()),
                state,
            )?;
        }
        Ok(plane)
    }

    /// The API server's URL for programs on the host.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.forward.address())
    }

    /// The API server's URL for programs on nodes.
    pub(crate) fn url_inside() -> String {
        format!("https://{GATEWAY}:{PORT}")
    }

    /// kubectl on the host, as the administrator.
    pub(crate) fn kubectl(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.admin);
        command
    }

    /// Kills the API server and starts it again; its clients see a connection that breaks.
    pub(crate) fn restart_apiserver(
        &mut self,
        outer: &Namespace,
        state: &State,
        locate: Locate<'_>,
    ) -> Result<(), Error> {
        self.components
            .retain(|component| component.name() != "kube-apiserver");
        let apiserver = locate(Program::KubeApiserver)?;
        self.run(
            "kube-apiserver",
            outer.command(apiserver).args(self.apiserver_flags()),
            state,
        )?;
        self.wait_until_ready(outer, state)
    }

    fn run(&mut self, name: &str, command: crate::Command, state: &State) -> Result<(), Error> {
        self.components
            .push(Component::start(name, command, &state.log(name))?);
        Ok(())
    }

    fn wait_until_ready(&mut self, outer: &Namespace, state: &State) -> Result<(), Error> {
        let log = state.log("kube-apiserver");
        wait::until("the API server is ready", READY, || {
            if let Some(ended) = self
                .components
                .iter_mut()
                .find_map(|component| component.check().err())
            {
                return Ok(Err(ended));
            }
            // kubectl costs a tenth of a second: ask only once the port is open.
            outer
                .tcp_connect((GATEWAY, PORT))
                .map_err(|error| error.to_string())?;
            let answer = self
                .kubectl()
                .args(["get", "--raw", "/readyz"])
                .output()
                .map_err(|error| error.to_string())?;
            let seen = || {
                format!(
                    "{}\n{}",
                    String::from_utf8_lossy(&answer.stderr),
                    tail(&log)
                )
            };
            if answer.stdout == b"ok" {
                Ok(Ok(()))
            } else {
                Err(seen())
            }
        })?
    }
}

/// Addresses, the bridge of the nodes and a `/run` of its own for the outer namespaces.
fn prepare(outer: &Namespace) -> Result<(), Error> {
    outer.run(|| {
        let run = Path::new("/run");
        let failed = |source| Error::Mount {
            target: run.into(),
            source,
        };
        mount(
            Some("tmpfs"),
            run,
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .map_err(failed)?;
        node::write("/proc/sys/net/ipv4/ip_forward", "1")
    })??;
    for address in [GATEWAY, SERVICE] {
        node::run(outer, &format!("address add {address}/32 dev lo"))?;
    }
    // Left to itself a bridge takes the lowest address of its ports: with a node that goes, the others would
    // send to a gateway that nobody is, for as long as their neighbour entry lives.
    node::run(
        outer,
        &format!("link add {BRIDGE} address {GATEWAY_MAC} type bridge"),
    )?;
    for subnet in NODE_SUBNETS {
        node::run(
            outer,
            &format!("address add {}/24 dev {BRIDGE}", subnet.gateway()),
        )?;
    }
    node::run(outer, &format!("link set {BRIDGE} up"))
}
