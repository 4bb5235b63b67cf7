//! The chapter about steering: a rule is asked for, holds on every node, and is taken back.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use eniway_api::SteeringRule;
use lab::Namespace;
use serde_json::json;

use super::port::ports;
use super::set_up::NODE_ENI;
use super::{Stage, records};

/// In the range that the rule names, and beside it.
const DROPPED: u16 = 7500;
const PASSED: u16 = 8000;
/// How long to wait for a datagram that must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// Datagrams to some ports end in the driver; then they pass again.
pub(super) fn rules(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, peer, screen } = stage;
    let rules = json!([{
        "match": {
            "source": format!("{}/32", peer.address()),
            "protocol": "UDP",
            "destinationPorts": ["7000-7999"],
        },
        "action": {"type": "Drop"},
    }]);
    let rules: Vec<SteeringRule> = serde_json::from_value(rules)?;
    steer(stage, &rules)?;
    for port in ports(lab)? {
        let before = port.packets(&[("reason", "steering")])?;
        let heard = |at| heard(peer, &port.node, SocketAddr::from((port.address, at)));
        ensure!(!heard(DROPPED)?, "a datagram to {DROPPED} was not dropped");
        ensure!(heard(PASSED)?, "a datagram to {PASSED} did not pass");
        let dropped = port.packets(&[("reason", "steering")])? - before;
        ensure!(
            dropped == 1,
            "{} counts {dropped} steered packets",
            port.eni
        );
        screen.fact(&format!(
            "{}: UDP to ports 7000-7999 of {} ends in the driver, to {PASSED} it passes",
            port.eni, port.address
        ));
    }
    steer(stage, &[])?;
    for port in ports(lab)? {
        let to = SocketAddr::from((port.address, DROPPED));
        ensure!(
            heard(peer, &port.node, to)?,
            "the rule is gone and still drops"
        );
    }
    Ok(())
}

/// Changes the NodeENI and waits until every agent says that it holds.
fn steer(stage: &Stage<'_>, rules: &[SteeringRule]) -> anyhow::Result<()> {
    let Stage { lab, screen, .. } = stage;
    let patch = json!({"spec": {"dataPath": {"steering": rules}}}).to_string();
    lab.kubectl(&["patch", "neni", NODE_ENI, "--type=merge", "-p", &patch])?;
    let what = format!("every agent steers by {} rules", rules.len());
    records::until_every(lab, &what, |record| {
        let path = record.spec.data_path.as_ref();
        path.is_some_and(|path| path.steering == rules)
    })?;
    screen.fact(&format!(
        "{} steering rules are in force, replaced as a whole",
        rules.len()
    ));
    Ok(())
}

/// Whether a datagram arrives.
fn heard(from: &Namespace, node: &Namespace, to: SocketAddr) -> anyhow::Result<bool> {
    let receiver = node.udp_bind(to)?;
    receiver.set_read_timeout(Some(SILENCE))?;
    from.udp_bind((Ipv4Addr::UNSPECIFIED, 0))?
        .send_to(b"eniway", to)?;
    let mut text = [0; 16];
    match receiver.recv(&mut text) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}
