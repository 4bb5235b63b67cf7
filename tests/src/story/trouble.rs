//! The chapters in which something breaks: an agent is killed under traffic, an instance is lost.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::flow::Flow;
use super::port::ports;
use super::set_up::{NODES, ready};
use super::{Stage, agents, cloud, records, until};

/// Kills the agent of the first node while a thousand datagrams a second pass; none may be lost.
pub(super) fn agent_killed(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, peer, screen } = stage;
    let all = ports(lab)?;
    let port = all.first().context("there is an interface")?;
    let receiver = port.node.udp_bind((port.address, 0))?;
    let to = SocketAddr::from((port.address, receiver.local_addr()?.port()));
    let flow = Flow::start(peer.udp_bind((peer.address(), 0))?, receiver, to)?;
    let pod = agents::ready(lab, NODES[0], None)?;
    agents::kill(lab, NODES[0])?;
    agents::ready(lab, NODES[0], Some(&pod))?;
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
