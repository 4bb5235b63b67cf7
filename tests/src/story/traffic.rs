//! The chapters about packets: what belongs to an interface passes, what does not is dropped and
//! counted, and Audit only counts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use eniway_api::{Enforcement, MacAddress, NodeEniAttachment};
use lab::{Host, Lab, Namespace};

use super::counters::Counters;
use super::frames::Udp;
use super::set_up::NODE_ENI;
use super::{Stage, records, until};

/// Hostile frames of each kind.
const FRAMES: u64 = 10;
/// A source that nobody in the VPC has.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// An interface under test: where it is, and what it is called there.
pub(super) struct Port {
    pub(super) node: Namespace,
    pub(super) eni: String,
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    mac: MacAddress,
}

impl Port {
    pub(super) fn of(lab: &Lab, record: &NodeEniAttachment) -> anyhow::Result<Self> {
        let ec2 = records::ec2(record).context("EC2 answered")?;
        let address = ec2
            .addresses
            .first()
            .context("an interface has a primary address")?
            .addr();
        let IpAddr::V4(address) = address else {
            anyhow::bail!("the primary address {address} is not IPv4")
        };
        Ok(Self {
            node: lab.in_node(&record.spec.node_name)?,
            eni: ec2
                .eni_id
                .as_ref()
                .context("the interface has an ID")?
                .to_string(),
            name: records::node(record)
                .and_then(|node| node.interface_name.clone())
                .context("the interface has a name on its node")?,
            address,
            mac: ec2.mac_address.context("the interface has a MAC address")?,
        })
    }

    /// Packets of this interface that the agent counted.
    pub(super) fn packets(&self, labels: &[(&str, &str)]) -> anyhow::Result<u64> {
        let mut all = vec![("eni", self.eni.as_str())];
        all.extend(labels);
        Ok(Counters::read(&self.node)?.packets(&all))
    }

    /// Gives the interface its address and a way back to the peer, as a Multus user's IPAM would.
    fn address(&self, peer: Ipv4Addr) -> anyhow::Result<()> {
        let [a, b, c, _] = self.address.octets();
        let gateway = Ipv4Addr::new(a, b, c, 1).to_string();
        let (address, peer) = (format!("{}/24", self.address), format!("{peer}/32"));
        for args in [
            &["addr", "replace", &address, "dev", &self.name][..],
            &[
                "route", "replace", &peer, "via", &gateway, "dev", &self.name,
            ],
        ] {
            self.node.command("ip").args(args).read()?;
        }
        Ok(())
    }
}

/// Every interface of the story.
pub(super) fn ports(lab: &Lab) -> anyhow::Result<Vec<Port>> {
    records::attachments(lab)?
        .iter()
        .map(|record| Port::of(lab, record))
        .collect()
}

/// Addresses on the interfaces, then pings and datagrams both ways from another host of the VPC.
pub(super) fn honest(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, peer, screen } = stage;
    for port in ports(lab)? {
        port.address(peer.address())?;
        let before = port.packets(&[("outcome", "passed")])?;
        ping(peer, port.address)?;
        ping(&port.node, peer.address())?;
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

/// One kind of hostile packet: how it is made, and as what it is counted.
struct Lie {
    name: &'static str,
    direction: &'static str,
    reason: &'static str,
    tell: fn(&Lab, &Port, &Host) -> anyhow::Result<()>,
}

const LIES: &[Lie] = &[
    Lie {
        name: "ingress, another's destination address",
        direction: "ingress",
        reason: "destination_mismatch",
        tell: |lab, port, peer| {
            inject(
                lab,
                port,
                peer.address(),
                Ipv4Addr::new(10, 200, 101, 250),
                port.mac,
            )
        },
    },
    Lie {
        name: "ingress, our own address as source",
        direction: "ingress",
        reason: "self_spoof",
        tell: |lab, port, _| inject(lab, port, port.address, port.address, port.mac),
    },
    Lie {
        name: "ingress, a source from 127.0.0.0/8",
        direction: "ingress",
        reason: "martian_source",
        tell: |lab, port, _| inject(lab, port, Ipv4Addr::LOCALHOST, port.address, port.mac),
    },
    Lie {
        name: "ingress, another's MAC address",
        direction: "ingress",
        reason: "destination_mac",
        tell: |lab, port, peer| {
            inject(
                lab,
                port,
                peer.address(),
                port.address,
                MacAddress([2, 0, 0, 0, 0, 9]),
            )
        },
    },
    Lie {
        name: "egress, a source that is not ours",
        direction: "egress",
        reason: "source_mismatch",
        tell: |_, port, peer| spoof(port, peer.address()),
    },
];

/// Lies on both sides of the interface, every one dropped and counted as what it is.
pub(super) fn hostile(stage: &Stage<'_>) -> anyhow::Result<()> {
    lies(stage, "dropped")
}

/// The same lies under Audit, counted and passed; then Enforce again.
pub(super) fn audit(stage: &Stage<'_>) -> anyhow::Result<()> {
    enforce(stage, Enforcement::Audit)?;
    lies(stage, "audited")?;
    enforce(stage, Enforcement::Enforce)?;
    lies(stage, "dropped")
}

fn lies(stage: &Stage<'_>, outcome: &str) -> anyhow::Result<()> {
    let Stage { lab, peer, screen } = stage;
    for port in ports(lab)? {
        for lie in LIES {
            let labels = [
                ("direction", lie.direction),
                ("reason", lie.reason),
                ("outcome", outcome),
            ];
            let before = port.packets(&labels)?;
            (lie.tell)(lab, &port, peer)?;
            until(&format!("{} {outcome} on {}", lie.name, port.eni), || {
                let seen = port.packets(&labels)? - before;
                Ok(if seen == FRAMES {
                    Ok(())
                } else {
                    Err(format!("{seen} of {FRAMES}"))
                })
            })?;
        }
        screen.fact(&format!(
            "{}: {} kinds of lies, {FRAMES} of each, all {outcome}",
            port.address,
            LIES.len()
        ));
    }
    Ok(())
}

/// Changes the NodeENI and waits until every agent says that it holds.
fn enforce(stage: &Stage<'_>, mode: Enforcement) -> anyhow::Result<()> {
    let Stage { lab, screen, .. } = stage;
    let patch = format!(r#"{{"spec":{{"dataPath":{{"enforcement":"{mode}"}}}}}}"#);
    lab.kubectl(&["patch", "neni", NODE_ENI, "--type=merge", "-p", &patch])?;
    until(&format!("every agent enforces {mode}"), || {
        let all = records::attachments(lab)?;
        let there = |record: &&NodeEniAttachment| {
            records::is_ready(record)
                && records::node(record).and_then(|node| node.enforcement) == Some(mode)
        };
        let late: Vec<_> = all
            .iter()
            .filter(|record| !there(record))
            .map(records::describe)
            .collect();
        Ok(if late.is_empty() {
            Ok(())
        } else {
            Err(late.join("\n"))
        })
    })?;
    screen.fact(&format!("enforcement is {mode}, without a reload"));
    Ok(())
}

/// Puts frames straight on the interface's wire, past all that the VPC checks.
fn inject(
    lab: &Lab,
    port: &Port,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    mac: MacAddress,
) -> anyhow::Result<()> {
    let lie = Udp {
        source_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        destination_mac: mac,
        source,
        destination,
    };
    for _ in 0..FRAMES {
        lab.wire(&port.eni).inject(&lie.frame())?;
    }
    Ok(())
}

/// Sends from the node with an address that is not the interface's.
fn spoof(port: &Port, peer: Ipv4Addr) -> anyhow::Result<()> {
    let stranger = format!("{STRANGER}/32");
    port.node
        .command("ip")
        .args(["addr", "replace", &stranger, "dev", "lo"])
        .read()?;
    let socket = port.node.udp_bind((STRANGER, 0))?;
    for _ in 0..FRAMES {
        // The guard's refusal comes back as ENOBUFS, which is no failure of the story.
        let _ = socket.send_to(b"eniway", (peer, 4002));
    }
    port.node
        .command("ip")
        .args(["addr", "del", &stranger, "dev", "lo"])
        .read()?;
    Ok(())
}

fn ping(from: &Namespace, to: Ipv4Addr) -> anyhow::Result<()> {
    from.command("busybox")
        .args(["ping", "-c", "3", "-i", "0.2", "-W", "3", &to.to_string()])
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
