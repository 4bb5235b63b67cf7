//! Hostile packets: how each is made, and as what it must be counted.

use std::net::Ipv4Addr;

use eniway_api::MacAddress;
use lab::{Host, Lab};

use super::frames::Udp;
use super::port::{Port, ports};
use super::{Stage, until};

/// Hostile frames of each kind.
const FRAMES: u64 = 10;
/// A source that nobody in the VPC has.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

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

/// Tells every lie to every interface; each must come to this outcome, counted as what it is.
pub(super) fn tell(stage: &Stage<'_>, outcome: &str) -> anyhow::Result<()> {
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

/// Sends from the node with an address that is not the interface's, as somebody does who put a route in its way.
fn spoof(port: &Port, peer: Ipv4Addr) -> anyhow::Result<()> {
    let [a, b, c, _] = port.address.octets();
    let gateway = Ipv4Addr::new(a, b, c, 1);
    let ip = |words: String| {
        let command = port.node.command("ip");
        command.args(words.split_whitespace()).read()
    };
    let name = &port.name;
    ip(format!("address replace {STRANGER}/32 dev lo"))?;
    ip(format!(
        "route replace {peer}/32 via {gateway} dev {name} onlink"
    ))?;
    let socket = port.node.udp_bind((STRANGER, 0))?;
    for _ in 0..FRAMES {
        // The guard's refusal comes back as ENOBUFS, which is no failure of the story.
        let _ = socket.send_to(b"eniway", (peer, 4002));
    }
    ip(format!("route delete {peer}/32 dev {name}"))?;
    ip(format!("address delete {STRANGER}/32 dev lo"))?;
    Ok(())
}
