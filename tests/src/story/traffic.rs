//! The chapters about packets: what belongs to an interface passes, what does not is dropped and
//! counted, and Audit only counts.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use eniway_api::Enforcement;
use lab::Namespace;

use super::port::ports;
use super::set_up::NODE_ENI;
use super::{Stage, lies, records};

/// Pings and datagrams both ways from another host of the VPC: the agents gave the nodes the addresses and the routes.
pub(super) fn honest(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, peer, screen } = stage;
    for port in ports(lab)? {
        let before = port.packets(&[("outcome", "passed")])?;
        ping(peer, peer.address(), port.address)?;
        ping(&port.node, port.address, peer.address())?;
        datagram(peer, peer.address(), &port.node, port.address)?;
        datagram(&port.node, port.address, peer, peer.address())?;
        let passed = port.packets(&[("outcome", "passed")])? - before;
        // Three pings and a datagram each way are at least 14 packets, ARP not counted.
        ensure!(passed >= 14, "{} counts {passed} passed packets", port.eni);
        let dropped = port.packets(&[("outcome", "dropped")])?;
        ensure!(
            dropped == 0,
            "{} dropped {dropped} honest packets",
            port.eni
        );
        screen.fact(&format!(
            "{} ⇄ {}: ping and UDP both ways, {passed} packets passed, 0 dropped",
            peer.address(),
            port.address
        ));
    }
    Ok(())
}

/// Lies on both sides of the interface, every one dropped and counted as what it is.
pub(super) fn hostile(stage: &Stage<'_>) -> anyhow::Result<()> {
    lies::tell(stage, "dropped")
}

/// The same lies under Audit, counted and passed; then Enforce again.
pub(super) fn audit(stage: &Stage<'_>) -> anyhow::Result<()> {
    enforce(stage, Enforcement::Audit)?;
    lies::tell(stage, "audited")?;
    enforce(stage, Enforcement::Enforce)?;
    lies::tell(stage, "dropped")
}

/// Changes the NodeENI and waits until every agent says that it holds.
fn enforce(stage: &Stage<'_>, mode: Enforcement) -> anyhow::Result<()> {
    let Stage { lab, screen, .. } = stage;
    let patch = format!(r#"{{"spec":{{"dataPath":{{"enforcement":"{mode}"}}}}}}"#);
    lab.kubectl(&["patch", "neni", NODE_ENI, "--type=merge", "-p", &patch])?;
    let what = format!("every agent enforces {mode}");
    records::until_every(lab, &what, |record| {
        records::node(record).and_then(|node| node.enforcement) == Some(mode)
    })?;
    screen.fact(&format!("enforcement is {mode}, without a reload"));
    Ok(())
}

pub(super) fn ping(from: &Namespace, source: Ipv4Addr, to: Ipv4Addr) -> anyhow::Result<()> {
    let (source, to) = (source.to_string(), to.to_string());
    from.command("busybox")
        .args([
            "ping", "-c", "3", "-i", "0.2", "-W", "3", "-I", &source, &to,
        ])
        .read()?;
    Ok(())
}

fn datagram(
    from: &Namespace,
    source: Ipv4Addr,
    to: &Namespace,
    address: Ipv4Addr,
) -> anyhow::Result<()> {
    let receiver = to.udp_bind((address, 0))?;
    receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
    let port = receiver.local_addr()?.port();
    from.udp_bind((source, 0))?
        .send_to(b"eniway", SocketAddr::from((address, port)))?;
    let mut text = [0; 16];
    let (length, sender) = receiver
        .recv_from(&mut text)
        .with_context(|| format!("a datagram from {source} to {address}"))?;
    ensure!(
        &text[..length] == b"eniway" && sender.ip() == source,
        "got something else from {sender}"
    );
    Ok(())
}
