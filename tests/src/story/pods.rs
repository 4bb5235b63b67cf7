//! The chapter about pods: the CNI plugin gives one an address of the interface, as a container runtime would ask.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use lab::Namespace;
use serde_json::{Value, json};

use super::port::{Port, ports};
use super::traffic::ping;
use super::{Stage, until};

/// The pod's namespace, as the runtime calls it.
const POD: &str = "story-pod";

/// A pod on each node is reached by an address of the interface, and ends.
pub(super) fn share(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, peer, screen } = stage;
    for port in ports(lab)? {
        ip(&port.node, &format!("netns add {POD}"))?;
        let address = add(&port)?;
        let before = (counted(&port, "to_pod")?, counted(&port, "from_pod")?);
        ping(peer, peer.address(), address)?;
        let there = format!("netns exec {POD} ping -c 3 -i 0.2 -W 2 {}", peer.address());
        ip(&port.node, &there)?;
        let (to, from) = (
            counted(&port, "to_pod")? - before.0,
            counted(&port, "from_pod")? - before.1,
        );
        ensure!(
            to >= 6 && from >= 6,
            "{} counts {to} packets to the pod and {from} from it",
            port.eni
        );
        screen.fact(&format!(
            "{}: a pod has {address} of {}; {to} packets came in and {from} went out past the node's stack",
            port.node.name(),
            port.eni
        ));
        deny(&port, address)?;
        let deleted = cni(&port, "DEL")?;
        ensure!(deleted.is_null(), "DEL says {deleted}");
        ip(&port.node, &format!("netns del {POD}"))?;
    }
    Ok(())
}

/// What the pod sends from the node's own address ends at its veth.
fn deny(port: &Port, address: Ipv4Addr) -> anyhow::Result<()> {
    let labels = [("direction", "from_pod"), ("reason", "source_mismatch")];
    let before = port.packets(&labels)?;
    let own = port.address;
    ip(
        &port.node,
        &format!("-n {POD} address add {own}/32 dev net1"),
    )?;
    let lie = format!("netns exec {POD} ping -c 1 -W 1 -I {own} 10.200.1.1");
    let answered = ip(&port.node, &lie).is_ok();
    ensure!(!answered, "a pod at {address} pings as {own}");
    let dropped = port.packets(&labels)? - before;
    ensure!(dropped >= 1, "{} counts no lie of its pod", port.eni);
    Ok(())
}

/// Asks again, as a runtime does: an agent may be away.
fn add(port: &Port) -> anyhow::Result<Ipv4Addr> {
    let mut said = Value::Null;
    until("the plugin gives a pod its place", || {
        Ok(match cni(port, "ADD") {
            Ok(answer) => {
                said = answer;
                Ok(())
            }
            Err(error) => Err(format!("{error:#}")),
        })
    })?;
    let address = said["ips"][0]["address"].as_str();
    let address = address.with_context(|| format!("the plugin gave no address: {said}"))?;
    let address = address.split('/').next().unwrap_or_default();
    Ok(address.parse()?)
}

/// What the plugin answers that the chart has installed.
fn cni(port: &Port, command: &str) -> anyhow::Result<Value> {
    let network = json!({"cniVersion": "1.0.0", "name": "fast", "type": "eniway",
        "interface": "multus-fast", "routes": [{"dst": "0.0.0.0/0"}]});
    let plugin = port.node.command("/opt/cni/bin/eniway");
    let mut plugin = plugin
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", POD)
        .env("CNI_NETNS", format!("/run/netns/{POD}"))
        .env("CNI_IFNAME", "net1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = plugin.stdin.take() {
        stdin.write_all(network.to_string().as_bytes())?;
    }
    let output = plugin.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command}: {text}");
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("read the plugin's answer {text}"))
}

fn counted(port: &Port, direction: &str) -> anyhow::Result<u64> {
    port.packets(&[("direction", direction), ("outcome", "passed")])
}

fn ip(node: &Namespace, words: &str) -> anyhow::Result<String> {
    Ok(node.command("ip").args(words.split(' ')).read()?)
}
