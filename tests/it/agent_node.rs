//! A node with the agent on it, and the outside world by hand: the test is the controller and EC2.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use eniway_agent::bpf::{Bpf, Guard, GuardConfig, Mode, WantedIngress};
use lab::{Config, Lab, Namespace, wait};
use serde_json::{Value, json};

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

/// An ENI of the test, by its number: eth<n>, 02:00:00:00:00:<n>, 10.200.101.<n>.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Eni(pub(crate) u8);

impl Eni {
    pub(crate) fn id(self) -> String {
        format!("eni-{:08x}", self.0)
    }

    pub(crate) fn name(self) -> String {
        format!("eth{}", self.0)
    }

    pub(crate) fn mac(self) -> String {
        format!("02:00:00:00:00:{:02x}", self.0)
    }

    pub(crate) fn address(self) -> String {
        format!("10.200.101.{}", self.0)
    }

    /// The name of its record.
    pub(crate) fn record(self) -> String {
        format!("record-{}", self.0)
    }
}

impl AgentNode {
    /// Needs root.
    pub(crate) fn start() -> Self {
        let lab = Lab::start(Config::bare(1), &|line| println!("{line}"))
            .expect("needs root and the programs of lab::requirements");
        lab.apply(&eniway_api::crds::yaml().unwrap()).unwrap();
        let record = "crd/nodeeniattachments.networking.k8s.aws";
        lab.kubectl(&["wait", "--for=condition=Established", record])
            .unwrap();
        lab.apply(ACCOUNT).unwrap();
        let kubeconfig = lab.kubeconfig_for("eniway-system", "agent").unwrap().inside;
        let node = lab.in_node("node1").unwrap();
        // The VPC, as far as this test needs one: another namespace at the end of a cable.
        let this = Self {
            agent: None,
            kubeconfig,
            node,
            lab,
        };
        this.ip("netns add vpc");
        this
    }

    /// Starts the agent with the two capabilities its pod has.
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

    fn log(&self) -> File {
        let path = self.lab.log_file("agent");
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.unwrap()
    }

    /// What EC2's hot plug does: the ENI appears in the node's namespace.
    pub(crate) fn plug(&self, eni: Eni) {
        let (name, mac, far) = (eni.name(), eni.mac(), format!("vpc{}", eni.0));
        self.ip(&format!(
            "link add {name} address {mac} type veth peer name {far}"
        ));
        self.ip(&format!("link set {far} netns vpc"));
        self.vpc(&format!("ip link set {far} up"));
    }

    /// Writes the record as the controller does: first the spec, then what EC2 answered.
    pub(crate) fn record(&self, eni: Eni, data_path: &Value) {
        self.record_of("i-00000000000000001", eni, data_path);
    }

    pub(crate) fn record_of(&self, instance: &str, eni: Eni, data_path: &Value) {
        let mut record = json!({
            "apiVersion": "networking.k8s.aws/v1alpha1",
            "kind": "NodeENIAttachment",
            "metadata": {"name": eni.record(), "finalizers": ["eniway.io/attachment"]},
            "spec": {
                "nodeName": "node1",
                "instanceID": instance,
                "nodeENI": {"name": "multus", "uid": "1"},
                "subnetID": "subnet-00000101",
                "securityGroupIDs": ["sg-00000001"],
                "deleteOnTermination": true,
                "sourceDestCheck": true,
            },
        });
        if !data_path.is_null() {
            record["spec"]["dataPath"] = data_path.clone();
        }
        self.lab.apply(&record.to_string()).unwrap();
        self.answer(eni, &[&eni.address()]);
    }

    /// Writes what EC2 says.
    pub(crate) fn answer(&self, eni: Eni, addresses: &[&str]) {
        let addresses: Vec<String> = addresses.iter().map(|one| format!("{one}/32")).collect();
        let status = json!({"status": {"ec2": {
            "state": "Attached",
            "eniID": eni.id(),
            "macAddress": eni.mac(),
            "deviceIndex": 1,
            "subnetCIDRs": ["10.200.101.0/24"],
            "addresses": addresses,
        }}});
        self.patch(eni, &status, &["--subresource=status"]);
    }

    pub(crate) fn patch(&self, eni: Eni, patch: &Value, more: &[&str]) {
        let (name, patch) = (eni.record(), patch.to_string());
        let mut args = vec!["patch", "nea", &name, "--type=merge", "-p", &patch];
        args.extend(more);
        self.lab.kubectl(&args).unwrap();
    }

    /// Marks the record for deletion, as the controller does.
    pub(crate) fn delete(&self, eni: Eni) {
        let delete = ["delete", "nea", &eni.record(), "--wait=false"];
        self.lab.kubectl(&delete).unwrap();
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

    /// Attaches an XDP program that this node's agent has not pinned.
    pub(crate) fn attach_foreign_xdp(&self, eni: Eni) {
        let config = GuardConfig {
            mac: [2, 0, 0, 0, 0, eni.0],
            mode: Mode::Off,
            source_dest_check: false,
            addresses: Vec::new(),
            subnets: Vec::new(),
        };
        let guard = Guard {
            ingress: WantedIngress::XdpNative,
            config,
        };
        let path = format!("/sys/class/net/{}/ifindex", eni.name());
        self.foreign(move |bpf| {
            let index = std::fs::read_to_string(path).unwrap().trim().parse();
            bpf.attach("eni-f", index.unwrap(), &guard).unwrap();
        });
    }

    pub(crate) fn detach_foreign_xdp(&self) {
        self.foreign(|bpf| bpf.detach("eni-f").unwrap());
    }

    fn foreign(&self, work: impl FnOnce(&mut Bpf) + Send) {
        let root = Path::new("/sys/fs/bpf/someone-else");
        let run = || work(&mut Bpf::open(root).unwrap());
        self.node.run(run).unwrap();
    }

    pub(crate) fn wait_until(&self, what: &str, accept: impl Fn(&Self) -> bool) {
        let look = || match accept(self) {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        };
        wait::until(what, DEADLINE, look).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the agent's half of the status is such that `accept` takes it.
    pub(crate) fn wait_status(
        &self,
        eni: Eni,
        what: &str,
        accept: impl Fn(&Value) -> bool,
    ) -> Value {
        let name = eni.record();
        let seen = wait::until(what, DEADLINE, || {
            let text = self.lab.kubectl(&["get", "nea", &name, "-o", "json"]);
            let record: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?)
                .map_err(|error| error.to_string())?;
            let status = &record["status"]["node"];
            match accept(status) {
                true => Ok(status.clone()),
                false => Err(status.to_string()),
            }
        });
        seen.unwrap_or_else(|error| panic!("{error}\n{}", self.lab.logs("agent")))
    }

    pub(crate) fn wait_phase(&self, eni: Eni, phase: &str) -> Value {
        self.wait_status(eni, &format!("{} is {phase}", eni.record()), |status| {
            status["phase"] == phase
        })
    }

    /// Runs `ip` on the node.
    pub(crate) fn ip(&self, words: &str) -> String {
        let ip = self.node.command("ip").args(words.split_whitespace());
        ip.read().unwrap()
    }

    /// Runs something at the other end of the cable.
    pub(crate) fn vpc(&self, words: &str) -> String {
        self.ip(&format!("netns exec vpc {words}"))
    }

    /// Starts something at the other end of the cable.
    pub(crate) fn vpc_spawn(&self, words: &str) -> Child {
        let ip = self.node.command("ip").args(["netns", "exec", "vpc"]);
        let ip = ip.args(words.split_whitespace());
        ip.stdout(std::process::Stdio::piped()).spawn().unwrap()
    }

    /// Whether the VPC gets an answer from `address`.
    pub(crate) fn answers(&self, address: &str) -> bool {
        let ping = self
            .node
            .command("ip")
            .args("netns exec vpc ping -c1 -W1".split(' '))
            .arg(address);
        ping.output().unwrap().status.success()
    }

    /// The packets counted for `eni`: the sum of the lines that contain every one of `labels`.
    pub(crate) fn packets(&self, eni: Eni, labels: &[&str]) -> u64 {
        let metrics = self.metrics("/metrics");
        let id = eni.id();
        metrics
            .lines()
            .filter(|line| line.starts_with("eniway_agent_packets_total") && line.contains(&id))
            .filter(|line| {
                labels
                    .iter()
                    .all(|label| line.contains(&format!("\"{label}\"")))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// What the agent serves at `path`, headers included.
    pub(crate) fn metrics(&self, path: &str) -> String {
        use std::io::{Read as _, Write as _};
        let answer = wait::until("the agent serves", DEADLINE, || {
            let mut stream = self
                .node
                .tcp_connect("127.0.0.1:8081")
                .map_err(|error| error.to_string())?;
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            let mut text = String::new();
            stream
                .write_all(request.as_bytes())
                .and_then(|()| stream.read_to_string(&mut text))
                .map_err(|error| error.to_string())?;
            Ok(text)
        });
        answer.unwrap()
    }

    /// The pins of `eni` that exist on the node.
    pub(crate) fn pins(&self, eni: Eni) -> Vec<String> {
        let find = self.node.command("find").args(["/sys/fs/bpf"]);
        let id = eni.id();
        let all = find.read().unwrap();
        all.lines()
            .filter(|line| line.contains(&id))
            .map(str::to_owned)
            .collect()
    }
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
