//! A node with the agent on it, and the outside world by hand: the test is the controller and EC2.

mod records;
mod wires;

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
    process::Child,
    time::Duration,
};

use lab::{Config, Lab, Namespace, wait};
use serde_json::json;

pub(crate) use self::records::Eni;

/// Far longer than anything takes; a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What the chart gives the agent, and nothing more.
const ACCOUNT: &str = r#"
---
apiVersion: v1
kind: Namespace
metadata: {name: eniway-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent, namespace: eniway-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: agent}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [get]}
- {apiGroups: [networking.k8s.aws], resources: [nodeeniattachments], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.aws], resources: [nodeeniattachments/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: agent}
subjects: [{kind: ServiceAccount, name: agent, namespace: eniway-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: agent, namespace: eniway-system}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: agent, namespace: eniway-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: agent}
subjects: [{kind: ServiceAccount, name: agent, namespace: eniway-system}]
"#;

/// One lab, one node, one agent at a time.
pub(crate) struct AgentNode {
    agent: Option<Child>,
    kubeconfig: PathBuf,
    pub(crate) node: Namespace,
    pub(crate) lab: Lab,
}

impl AgentNode {
    /// Needs root.
    pub(crate) fn start() -> Self {
        Self::start_with(Config::bare(1))
    }

    /// Needs root.
    pub(crate) fn start_with(config: Config) -> Self {
        let lab = Lab::start(config, &|line| println!("{line}"))
            .expect("needs root and the programs of lab::requirements");
        lab.apply(&eniway_api::crds::yaml().unwrap()).unwrap();
        established(&lab, "nodeeniattachments.networking.k8s.aws");
        let this = Self::in_lab(lab);
        // The VPC, as far as this test needs one: another namespace at the end of a cable.
        this.ip("netns add vpc");
        this
    }

    /// The node `node1` of a lab whose API server has our definitions.
    pub(crate) fn in_lab(lab: Lab) -> Self {
        lab.apply(ACCOUNT).unwrap();
        let kubeconfig = lab.kubeconfig_for("eniway-system", "agent").unwrap().inside;
        let node = lab.in_node("node1").unwrap();
        Self {
            agent: None,
            kubeconfig,
            node,
            lab,
        }
    }

    /// Starts the agent with the fewest capabilities that its pod may have: without CAP_PERFMON, which the kernel trusts more.
    pub(crate) fn start_agent(&mut self, more: &[&str]) {
        assert!(self.agent.is_none(), "one agent at a time");
        let log = self.log();
        let agent = self
            .node
            .command("setpriv")
            .args([
                "--bounding-set=-all,+cap_39,+net_admin",
                "--no-new-privs",
                "--",
            ])
            .arg(eniway_tests::binary("eniway-agent"))
            .args([
                "--node-name=node1",
                "--namespace=eniway-system",
                "--accept-virtual",
            ])
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(more)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(agent);
    }

    /// Kills the agent as the kernel's OOM killer would.
    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().expect("the agent was started");
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Tells the agent to stop, as the kubelet does, and waits for its end.
    pub(crate) fn stop_agent(&mut self) -> std::process::ExitStatus {
        let mut agent = self.agent.take().expect("the agent was started");
        let stop = std::process::Command::new("kill")
            .arg(agent.id().to_string())
            .status();
        assert!(stop.unwrap().success());
        agent.wait().unwrap()
    }

    pub(crate) fn agent_process(&self) -> u32 {
        self.agent.as_ref().expect("the agent was started").id()
    }

    fn log(&self) -> File {
        let path = self.lab.log_file("agent");
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.unwrap()
    }

    /// Runs the agent with its pins in an ordinary folder and gives the message in the record's status.
    /// The interface and its record are there afterwards.
    pub(crate) fn refused_by_a_folder_that_is_no_bpffs(&mut self, eni: Eni) -> String {
        self.plug(eni);
        self.record(eni, &json!({}));
        self.start_agent(&["--bpffs=/run/no-bpffs"]);
        let failed = self.wait_phase(eni, "Failed");
        assert_eq!(failed["reason"], "BpffsUnavailable");
        self.kill_agent();
        failed["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn wait_until(&self, what: &str, accept: impl Fn(&Self) -> bool) {
        let look = || match accept(self) {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        };
        wait::until(what, DEADLINE, look).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Waits until a definition is served. kubectl's own wait fails while there is no condition at all.
pub(crate) fn established(lab: &Lab, crd: &str) {
    let wait = ["wait", "--for=condition=Established", "crd", crd];
    lab.wait_kubectl(&format!("{crd} is served"), DEADLINE, &wait, |_| true)
        .unwrap();
}

impl Drop for AgentNode {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // It fails only when the agent has ended already.
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if std::thread::panicking() {
            println!("{}", self.lab.logs("agent"));
        }
    }
}
