//! The chapters in which something breaks: an agent is killed under traffic, an instance is lost.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lab::Lab;

use super::flow::Flow;
use super::set_up::{NAMESPACE, NODES, ready};
use super::traffic::ports;
use super::{Stage, cloud, records, until};

/// Kills the agent of the first node while a thousand datagrams a second pass; none may be lost.
pub(super) fn agent_killed(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, peer, screen } = stage;
    let all = ports(lab)?;
    let port = all.first().context("there is an interface")?;
    let receiver = port.node.udp_bind((port.address, 0))?;
    let to = SocketAddr::from((port.address, receiver.local_addr()?.port()));
    let flow = Flow::start(peer.udp_bind((peer.address(), 0))?, receiver, to)?;
    let pod = agent_pod(lab, NODES[0])?;
    lab.kubectl(&[
        "-n",
        NAMESPACE,
        "delete",
        "pod",
        &pod,
        "--grace-period=0",
        "--force",
    ])?;
    until("another agent is Ready", || {
        Ok(match agent_pod(lab, NODES[0]) {
            Ok(new) if new != pod && is_pod_ready(lab, &new)? => Ok(()),
            Ok(other) => Err(other),
            Err(error) => Err(error.to_string()),
        })
    })?;
    // It has adopted the pins and answers for its record.
    ready(lab, NODES.len())?;
    std::thread::sleep(Duration::from_secs(1));
    let tally = flow.stop()?;
    ensure!(
        tally.received == tally.sent,
        "lost {} of {} datagrams",
        tally.sent - tally.received,
        tally.sent
    );
    screen.fact(&format!(
        "{pod} killed and replaced; {} datagrams sent, {} received, 0 lost",
        tally.sent, tally.received
    ));
    Ok(())
}

/// Terminates the second node's instance: its interface goes with it, its record after that.
pub(super) fn instance_terminated(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, screen, .. } = stage;
    let node = NODES[1];
    cloud::terminate(lab, node)?;
    lab.kubectl(&["delete", "node", node, "--ignore-not-found", "--wait=false"])?;
    until("the record of the lost node goes, the other stays", || {
        let left = records::attachments(lab)?;
        Ok(match left.as_slice() {
            [only] if only.spec.node_name == NODES[0] => Ok(()),
            _ => Err(left
                .iter()
                .map(records::describe)
                .collect::<Vec<_>>()
                .join("\n")),
        })
    })?;
    let enis = cloud::interfaces(lab);
    ensure!(
        enis.len() == 1,
        "EC2 has these interfaces of ours: {enis:?}"
    );
    screen.fact(
        "EC2 deleted the interface with its instance, the record is gone, nothing was made anew",
    );
    Ok(())
}

fn agent_pod(lab: &Lab, node: &str) -> anyhow::Result<String> {
    let field = format!("spec.nodeName={node},status.phase=Running");
    let names = lab.kubectl(&[
        "-n",
        NAMESPACE,
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/component=agent",
        "--field-selector",
        &field,
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ])?;
    names
        .split_whitespace()
        .next()
        .map(str::to_owned)
        .with_context(|| format!("no agent runs on {node}"))
}

fn is_pod_ready(lab: &Lab, pod: &str) -> anyhow::Result<bool> {
    let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    Ok(lab.kubectl(&["-n", NAMESPACE, "get", "pod", pod, "-o", path])? == "True")
}
