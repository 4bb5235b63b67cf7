//! The last chapters: what was made is taken away, from EC2, from the kernel, and from this machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use lab::Lab;

use super::port::{Port, ports};
use super::set_up::{NAMESPACE, NODE_ENI, NODES, RELEASE};
use super::{Screen, Stage, cloud, records, until};

/// Takes the label from the node that is left; agent and controller let the interface go.
pub(super) fn label_removed(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, screen, .. } = stage;
    let all = ports(lab)?;
    let port = all.first().context("there is an interface")?;
    lab.kubectl(&["label", "node", NODES[0], "ng-"])?;
    until("the record goes", || {
        let left = records::attachments(lab)?;
        Ok(if left.is_empty() {
            Ok(())
        } else {
            Err(left
                .iter()
                .map(records::describe)
                .collect::<Vec<_>>()
                .join("\n"))
        })
    })?;
    gone(lab, port)?;
    screen.fact(&format!(
        "{} is released by the agent, detached, deleted; no pin and no link is left on {}",
        port.eni, NODES[0]
    ));
    Ok(())
}

/// Deletes the NodeENI, then the release; the CRDs stay, as Helm's users expect.
pub(super) fn uninstalled(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, screen, .. } = stage;
    lab.kubectl(&["delete", "neni", NODE_ENI, "--timeout=60s"])?;
    ensure!(
        cloud::interfaces(lab).is_empty(),
        "EC2 still has {:?}",
        cloud::interfaces(lab)
    );
    lab.helm(
        &[
            "uninstall",
            RELEASE,
            "--namespace",
            NAMESPACE,
            "--wait",
            "--timeout",
            "2m",
        ],
        &|line| screen.progress(line),
    )?;
    screen.fact("the NodeENI and the release are gone, and EC2 has no interface of ours");
    Ok(())
}

/// Ends the lab and looks for what it left.
pub(super) fn nothing_left(lab: Lab, screen: &Screen) -> anyhow::Result<()> {
    let (id, folder) = (lab.id().to_owned(), lab.folder().to_owned());
    drop(lab);
    let left = left_behind(&id, &folder)?;
    ensure!(left.is_empty(), "{id} left these behind:\n{left}");
    screen.fact("no process, mount, cgroup or file of the lab is left");
    Ok(())
}

/// Whatever still bears a lab's name; empty when all is gone.
fn left_behind(id: &str, folder: &Path) -> anyhow::Result<String> {
    let looks: [&[&str]; 3] = [
        &["find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", id],
        &["grep", "-F", id, "/proc/self/mounts"],
        &["pgrep", "-af", id],
    ];
    let mut left = String::new();
    for look in looks {
        let [program, args @ ..] = look else { continue };
        let output = Command::new(program)
            .args(args)
            .output()
            .with_context(|| format!("run {program}"))?;
        left.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    if folder.exists() {
        left.push_str(&folder.display().to_string());
    }
    Ok(left)
}

fn gone(lab: &Lab, port: &Port) -> anyhow::Result<()> {
    ensure!(
        !cloud::interfaces(lab).contains(&port.eni),
        "EC2 still has {}",
        port.eni
    );
    let links = port.node.command("ip").args(["-o", "link"]).read()?;
    ensure!(
        !links.contains(&format!(" {}:", port.name)),
        "{} is still there: {links}",
        port.name
    );
    let pins = port
        .node
        .command("find")
        .args(["/sys/fs/bpf", "-name", &port.eni])
        .read()?;
    ensure!(pins.trim().is_empty(), "these pins are left: {pins}");
    Ok(())
}
