//! How long the agent takes from an interface that comes until it is guarded, addressed and routed.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Config, Lab, Namespace, wait};
use serde_json::json;

use crate::program::{Memory, apply_definitions};

const RECORD: &str = "plugged";
const MAC: &str = "02:00:00:00:00:0a";
/// Where the agent serves its metrics.
const METRICS: &str = "127.0.0.1:8081";
/// Far longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(30);
const HISTOGRAM: &str = "eniway_agent_set_up_seconds";
const ACCOUNT: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: eniway-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent, namespace: eniway-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: agent, namespace: eniway-system}]
"#;

/// The agent, which ends with this value.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plugs an interface in and out, and gives the table.
pub(crate) fn run(runs: u32, agent: &Path, controller: &Path) -> Result<String> {
    let lab = Lab::start(Config::bare(1), &|line| eprintln!("      {line}"))?;
    apply_definitions(controller, &lab)?;
    lab.apply(ACCOUNT)?;
    record(&lab)?;
    let node = lab.in_node("node1")?;
    ip(&node, "netns add vpc")?;
    let agent = start(&lab, &node, agent)?;
    for run in 1..=runs {
        ip(
            &node,
            &format!("link add eth10 address {MAC} type veth peer name far netns vpc"),
        )?;
        until(&node, "it is set up", &format!("{HISTOGRAM}_count {run}"))?;
        ip(&node, "link delete eth10")?;
        until(&node, "it is gone", r#"interfaces{phase="Pending"} 1"#)?;
        if run % 50 == 0 {
            eprintln!("      {run} of {runs}");
        }
    }
    let memory = Memory::of(agent.0.id())?;
    let buckets = buckets(&metrics(&node)?);
    let within = |share: f64| {
        let bound = buckets
            .iter()
            .find(|(_, count)| *count >= share * f64::from(runs));
        bound.map_or("more".to_owned(), |(bound, _)| {
            format!("≤ {:.0}", bound * 1000.0)
        })
    };
    Ok(format!(
        "| an interface comes: guarded (native XDP), addressed, routed | times | p50, ms | p99, ms | the agent's RSS, peak, MiB |\n\
         |---|---|---|---|---|\n| from the kernel's event | {runs} | {} | {} | {:.0}, {:.0} |\n",
        within(0.5),
        within(0.99),
        memory.now as f64 / 1024.0,
        memory.highest as f64 / 1024.0,
    ))
}

/// What the controller would have written.
fn record(lab: &Lab) -> Result<()> {
    let record = json!({
        "apiVersion": "networking.k8s.aws/v1alpha1",
        "kind": "NodeENIAttachment",
        "metadata": {"name": RECORD},
        "spec": {
            "nodeName": "node1",
            "instanceID": "i-00000000000000001",
            "nodeENI": {"name": "multus", "uid": "1"},
            "subnetID": "subnet-00000101",
            "securityGroupIDs": ["sg-00000001"],
            "deleteOnTermination": true,
            "sourceDestCheck": true,
            "interface": {"addressing": "Host"},
            "dataPath": {"xdp": "Native", "enforcement": "Enforce"},
        },
    });
    lab.apply(&record.to_string())?;
    let status = json!({"status": {"ec2": {
        "state": "Attached",
        "eniID": "eni-0000000a",
        "macAddress": MAC,
        "deviceIndex": 1,
        "subnetCIDRs": ["10.200.101.0/24", "2001:db8:101::/64"],
        "addresses": ["10.200.101.10/32", "2001:db8:101::10/128"],
    }}});
    let (patch, subresource) = (status.to_string(), "--subresource=status");
    lab.kubectl(&[
        "patch",
        "nea",
        RECORD,
        "--type=merge",
        "-p",
        &patch,
        subresource,
    ])?;
    Ok(())
}

/// Starts the agent with the capabilities that its pod has.
fn start(lab: &Lab, node: &Namespace, agent: &Path) -> Result<Agent> {
    let kubeconfig = lab.kubeconfig_for("eniway-system", "agent")?.inside;
    let log = File::create(lab.log_file("agent")).context("create the agent's log")?;
    let mut command = node.command("setpriv");
    command = command.args([
        "--bounding-set=-all,+cap_39,+cap_38,+net_admin",
        "--no-new-privs",
        "--",
    ]);
    command = command
        .arg(agent)
        .args(["--node-name=node1", "--accept-virtual"]);
    command = command.arg("--kubeconfig").arg(&kubeconfig);
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(Agent(child))
}

fn ip(node: &Namespace, words: &str) -> Result<()> {
    node.command("ip").args(words.split_whitespace()).read()?;
    Ok(())
}

/// Waits until the metrics have the text.
fn until(node: &Namespace, what: &str, text: &str) -> Result<()> {
    wait::until(what, DEADLINE, || match metrics(node) {
        Ok(metrics) if metrics.contains(text) => Ok(()),
        Ok(metrics) => Err(metrics),
        Err(error) => Err(format!("{error:#}")),
    })?;
    Ok(())
}

fn metrics(node: &Namespace) -> Result<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = node.tcp_connect(METRICS)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Bounds in seconds, with how many lie below.
fn buckets(metrics: &str) -> Vec<(f64, f64)> {
    let lines = metrics.lines().filter_map(|line| {
        let rest = line
            .strip_prefix(HISTOGRAM)?
            .strip_prefix("_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        Some((bound.parse().ok()?, count.parse().ok()?))
    });
    lines
        .filter(|(bound, _): &(f64, f64)| bound.is_finite())
        .collect()
}
