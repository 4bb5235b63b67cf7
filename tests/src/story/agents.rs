//! The agents as processes and as pods: how they are killed, and when others have taken over.

use std::fs;
use std::process::Command;

use anyhow::Context as _;
use lab::Lab;

use super::set_up::NAMESPACE;
use super::until;

/// The agent's program, as the kernel calls it.
const PROGRAM: &str = "eniway-agent";
const LABEL: &str = "app.kubernetes.io/component=agent";

/// Kills the agent of a node as the kernel does when memory runs out, and takes its pod away, so that
/// the next one comes at once and not when the kubelet's back-off says. Tells whether there was one.
pub(super) fn kill(lab: &Lab, node: &str) -> anyhow::Result<bool> {
    let processes = processes(lab, node)?;
    if processes.is_empty() {
        return Ok(false);
    }
    Command::new("kill")
        .arg("-KILL")
        .args(&processes)
        .output()
        .context("run kill")?;
    let field = format!("spec.nodeName={node}");
    lab.kubectl(&[
        "-n",
        NAMESPACE,
        "delete",
        "pods",
        "-l",
        LABEL,
        "--field-selector",
        &field,
        "--grace-period=0",
        "--force",
        "--wait=false",
    ])?;
    Ok(true)
}

/// The pod of a node's agent, once there is one that is Ready and not `old`.
pub(super) fn ready(lab: &Lab, node: &str, old: Option<&str>) -> anyhow::Result<String> {
    let mut found = String::new();
    until(&format!("an agent on {node} is Ready"), || {
        let pods = pods(lab, node)?;
        let new = pods
            .iter()
            .find(|pod| Some(pod.as_str()) != old && is_ready(lab, pod));
        Ok(match new {
            Some(pod) => {
                found.clone_from(pod);
                Ok(())
            }
            None => Err(format!("pods {pods:?}")),
        })
    })?;
    Ok(found)
}

fn pods(lab: &Lab, node: &str) -> anyhow::Result<Vec<String>> {
    let field = format!("spec.nodeName={node},status.phase=Running");
    let names = lab.kubectl(&[
        "-n",
        NAMESPACE,
        "get",
        "pods",
        "-l",
        LABEL,
        "--field-selector",
        &field,
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ])?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// A pod that is gone is not ready.
fn is_ready(lab: &Lab, pod: &str) -> bool {
    let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    let status = lab.kubectl(&["-n", NAMESPACE, "get", "pod", pod, "-o", path]);
    status.is_ok_and(|status| status == "True")
}

/// The agent's processes on a node, which its cgroup tells from those of other labs.
fn processes(lab: &Lab, node: &str) -> anyhow::Result<Vec<String>> {
    let cgroup = format!("/{}/{node}/", lab.id());
    let all = fs::read_dir("/proc").context("list the processes")?;
    let names = all
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    // One that ends meanwhile has no files any more.
    let read = |id: &str, file: &str| fs::read_to_string(format!("/proc/{id}/{file}"));
    let is_agent = |id: &String| {
        read(id, "comm").is_ok_and(|name| name.trim() == PROGRAM)
            && read(id, "cgroup").is_ok_and(|groups| groups.contains(&cgroup))
    };
    Ok(names.filter(is_agent).collect())
}
