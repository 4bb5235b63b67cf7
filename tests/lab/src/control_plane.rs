//! etcd, the API server and, where wanted, controller manager and scheduler, in the outer namespaces.

use std::collections::BTreeSet;
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
use crate::pki::{Pki, Subject};
use crate::state::State;
use crate::vpc::NODE_SUBNETS;
use crate::wait;

/// The outer side's address: the API server and EC2 are there for nodes and pods.
pub const GATEWAY: &str = "10.200.0.1";
/// The cluster address of the service `kubernetes`; there is no kube-proxy, so it lies on `lo`.
const SERVICE: &str = "10.96.0.1";
const ETCD: &str = "http://127.0.0.1:2379";
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

    fn file(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.pki.path(name).display())
    }

    fn apiserver_flags(&self) -> Vec<String> {
        let fixed = [
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
            "--bind-address=0.0.0.0",
            // The lab is stopped by killing it; nothing is to be drained.
            "--shutdown-delay-duration=0s",
        ];
        let mut flags: Vec<String> = fixed.map(str::to_owned).into();
        flags.extend([
            format!("--etcd-servers={ETCD}"),
            format!("--advertise-address={GATEWAY}"),
            format!("--secure-port={PORT}"),
            self.file("cert-dir", ""),
            self.file("tls-cert-file", "apiserver.crt"),
            self.file("tls-private-key-file", "apiserver.key"),
            self.file("client-ca-file", "ca.crt"),
            self.file("token-auth-file", "tokens.csv"),
            self.file("service-account-key-file", "sa.pub"),
            self.file("service-account-signing-key-file", "sa.key"),
            self.file("kubelet-client-certificate", "kubelet-client.crt"),
            self.file("kubelet-client-key", "kubelet-client.key"),
        ]);
        flags
    }

    fn manager_flags(&self) -> Vec<String> {
        vec![
            self.file("kubeconfig", "kcm.kubeconfig"),
            self.file("service-account-private-key-file", "sa.key"),
            self.file("root-ca-file", "ca.crt"),
            self.file("cert-dir", "kcm"),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--authentication-skip-lookup".to_owned(),
        ]
    }

    fn scheduler_flags(&self) -> Vec<String> {
        vec![
            self.file("kubeconfig", "scheduler.kubeconfig"),
            self.file("cert-dir", "scheduler"),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--authentication-skip-lookup".to_owned(),
        ]
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
    node::run(outer, &format!("link add {BRIDGE} type bridge"))?;
    for subnet in NODE_SUBNETS {
        node::run(
            outer,
            &format!("address add {}/24 dev {BRIDGE}", subnet.gateway()),
        )?;
    }
    node::run(outer, &format!("link set {BRIDGE} up"))
}

fn etcd_flags() -> [String; 8] {
    let peer = "http://127.0.0.1:2380";
    [
        "--name=lab".to_owned(),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=lab={peer}"),
        // What it stores dies with the lab.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

/// Writes certificates, tokens and kubeconfigs; gives the administrator's two.
fn credentials(
    pki: &Pki,
    config: &Config,
    forwarded: SocketAddr,
) -> Result<(PathBuf, PathBuf), Error> {
    let names = [
        "127.0.0.1",
        GATEWAY,
        SERVICE,
        "localhost",
        "kubernetes.default.svc",
    ];
    let apiserver = Subject {
        common_name: "kube-apiserver",
        names: &names,
        organization: None,
    };
    pki.certificate("apiserver", &apiserver)?;
    let client = Subject {
        common_name: "apiserver-kubelet-client",
        organization: Some("system:masters"),
        names: &[],
    };
    pki.certificate("kubelet-client", &client)?;

    let mut tokens = String::from(
        "admin-token,admin,admin,system:masters\n\
         kcm-token,system:kube-controller-manager,kcm\n\
         scheduler-token,system:kube-scheduler,scheduler\n",
    );
    let inside = ControlPlane::url_inside();
    // The file is read once: nodes that come later must be in it, too.
    let later = (1..=9).map(|number| format!("node{number}"));
    let names: BTreeSet<String> = config
        .nodes
        .iter()
        .map(|node| node.name.clone())
        .chain(later)
        .collect();
    for name in names {
        tokens.push_str(&format!(
            "{name}-token,system:node:{name},{name},system:nodes\n"
        ));
        pki.kubeconfig(&name, &inside, &format!("{name}-token"))?;
    }
    pki.write("tokens.csv", &tokens)?;
    pki.kubeconfig("kcm", &inside, "kcm-token")?;
    pki.kubeconfig("scheduler", &inside, "scheduler-token")?;
    let admin_inside = pki.kubeconfig("admin-inside", &inside, "admin-token")?;
    let admin = pki.kubeconfig("admin", &format!("https://{forwarded}"), "admin-token")?;
    Ok((admin, admin_inside))
}
