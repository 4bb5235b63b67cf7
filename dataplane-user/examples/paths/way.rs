//! The ways that are compared, and the drops.

use std::{
    any::Any,
    io::Write as _,
    process::{Command, Stdio},
};

use eniway_agent::bpf::{
    Bpf, Guard, GuardConfig, Mode, PodInterface, WantedIngress,
    bench::live::BareDrop,
    steering::{Action, Rule},
};

use crate::world::{
    Done, ENI_MAC, NODE, NODE_MAC, POD, POD_MAC, World, in_pod, in_vpc, ip, pins, run,
};

const ENI: &str = "eni-0123456789abcdef0";

/// What must live as long as a way is used.
pub(crate) type Made = Box<dyn Any>;

/// How packets come from the ENI into a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forwarding,
    Ptp,
    Bridge,
    Macvlan,
    Guarded,
    PodsTc,
    Pods,
    Redirect,
}

impl Way {
    pub(crate) const ALL: [Self; 8] = [
        Self::Forwarding,
        Self::Ptp,
        Self::Bridge,
        Self::Macvlan,
        Self::Guarded,
        Self::PodsTc,
        Self::Pods,
        Self::Redirect,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Forwarding => "kernel forwarding",
            Self::Ptp => "CNI plugin ptp",
            Self::Bridge => "bridge (no VPC lets its frames out)",
            Self::Macvlan => "macvlan (no VPC lets its frames out)",
            Self::Guarded => "kernel forwarding, guarded by native XDP",
            Self::PodsTc => "**eniway's CNI plugin**, guarded in traffic control",
            Self::Pods => "**eniway's CNI plugin**, guarded by native XDP",
            Self::Redirect => "a steering rule `Redirect`, guarded by native XDP",
        }
    }

    pub(crate) fn make(self, world: &mut World) -> Done<Made> {
        match self {
            Self::Forwarding => {
                world.veth()?;
                Ok(Box::new(()))
            }
            Self::Ptp => ptp().map(|()| Box::new(()) as Made),
            Self::Bridge => {
                ip("link add br0 type bridge")?;
                ip("link set br0 up")?;
                ip("link set eni0 master br0")?;
                ip("link add pod0 type veth peer name net1 address 02:00:00:00:02:01 netns pod")?;
                ip("link set pod0 master br0")?;
                ip("link set pod0 up")?;
                world.on_the_link()?;
                Ok(Box::new(()))
            }
            Self::Macvlan => {
                ip(
                    "link add net1 link eni0 address 02:00:00:00:02:01 netns pod type macvlan mode bridge",
                )?;
                world.on_the_link()?;
                Ok(Box::new(()))
            }
            Self::Guarded => {
                world.veth()?;
                Ok(Box::new(guarded(
                    world,
                    WantedIngress::XdpNative,
                    Vec::new(),
                )?))
            }
            Self::PodsTc | Self::Pods => {
                let interface = world.veth()?;
                in_pod("ethtool -K net1 gro on")?;
                let ingress = match self {
                    Self::Pods => WantedIngress::XdpNative,
                    _ => WantedIngress::Tc,
                };
                let mut bpf = guarded(world, ingress, Vec::new())?;
                bpf.add_pod(
                    ENI,
                    &PodInterface {
                        interface,
                        mac: POD_MAC,
                        node_mac: NODE_MAC,
                        addresses: vec![POD.parse()?],
                    },
                )?;
                Ok(Box::new(bpf))
            }
            Self::Redirect => {
                let interface = world.veth()?;
                in_pod("ethtool -K net1 gro on")?;
                // XDP loses what is known of a checksum, so that it must be right.
                in_vpc("ethtool -K vpc0 tx off")?;
                let rule = Rule {
                    source: None,
                    destination: Some(format!("{POD}/32").parse()?),
                    protocol: None,
                    source_ports: Vec::new(),
                    destination_ports: Vec::new(),
                    action: Action::Redirect(interface),
                };
                Ok(Box::new(guarded(
                    world,
                    WantedIngress::XdpNative,
                    vec![rule],
                )?))
            }
        }
    }

    /// The MAC address by which the pod is reached.
    pub(crate) fn mac(self) -> [u8; 6] {
        match self {
            Self::Bridge | Self::Macvlan => POD_MAC,
            _ => ENI_MAC,
        }
    }
}

fn guarded(world: &World, ingress: WantedIngress, steering: Vec<Rule>) -> Done<Bpf> {
    let mut bpf = Bpf::open(&pins())?;
    let guard = Guard {
        ingress,
        config: GuardConfig {
            mac: ENI_MAC,
            mode: Mode::Enforce,
            source_dest_check: true,
            addresses: vec![format!("{NODE}/32").parse()?, "10.0.1.64/28".parse()?],
            subnets: vec!["10.0.1.0/24".parse()?],
        },
        steering,
    };
    bpf.attach(ENI, world.eni()?, &guard)?;
    Ok(bpf)
}

/// The reference plugin, as a runtime calls it.
fn ptp() -> Done<()> {
    let network = format!(
        r#"{{"cniVersion": "0.4.0", "name": "bench", "type": "ptp", "ipam": {{"type": "static",
            "addresses": [{{"address": "{POD}/24", "gateway": "10.0.1.1"}}],
            "routes": [{{"dst": "0.0.0.0/0"}}]}}}}"#
    );
    let mut plugin = Command::new("/usr/lib/cni/ptp")
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", "bench")
        .env("CNI_NETNS", "/run/netns/pod")
        .env("CNI_IFNAME", "net1")
        .env("CNI_PATH", "/usr/lib/cni")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("/usr/lib/cni/ptp: {error}"))?;
    if let Some(mut stdin) = plugin.stdin.take() {
        stdin.write_all(network.as_bytes())?;
    }
    let output = plugin.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ptp: {}", String::from_utf8_lossy(&output.stdout)).into())
}

/// Where frames end that must not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Bare,
    Check,
    Steering,
    NftablesIngress,
    Nftables,
    Iptables,
}

impl Ending {
    pub(crate) const ALL: [Self; 6] = [
        Self::Bare,
        Self::Check,
        Self::Steering,
        Self::NftablesIngress,
        Self::Nftables,
        Self::Iptables,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare drop, XDP",
            Self::Check => "**eniway**: not the ENI's address",
            Self::Steering => "eniway: a steering rule drops",
            Self::NftablesIngress => "nftables, at the interface's ingress",
            Self::Nftables => "nftables, before connection tracking",
            Self::Iptables => "iptables, raw table",
        }
    }

    /// A frame that ends there.
    pub(crate) fn frame(self) -> Vec<u8> {
        let destination = match self {
            Self::Check => "10.0.1.99",
            _ => NODE,
        };
        crate::load::frame(ENI_MAC, destination)
    }

    pub(crate) fn make(self, world: &World) -> Done<Made> {
        Ok(match self {
            Self::Bare => Box::new(BareDrop::new(world.eni()?)?),
            Self::Check => Box::new(guarded(world, WantedIngress::XdpNative, Vec::new())?),
            Self::Steering => {
                let rule = Rule {
                    source: None,
                    destination: None,
                    protocol: Some(17),
                    source_ports: Vec::new(),
                    destination_ports: vec![6000..=6000],
                    action: Action::Drop,
                };
                Box::new(guarded(world, WantedIngress::XdpNative, vec![rule])?)
            }
            Self::NftablesIngress => {
                let hook = "type filter hook ingress device eni0 priority filter";
                nftables("netdev", hook, "drop")?;
                Box::new(())
            }
            Self::Nftables => {
                let hook = "type filter hook prerouting priority raw";
                nftables("ip", hook, "iifname eni0 drop")?;
                Box::new(())
            }
            Self::Iptables => {
                run("iptables -t raw -A PREROUTING -i eni0 -j DROP")?;
                Box::new(())
            }
        })
    }
}

/// A table with one chain and one rule in it.
fn nftables(family: &str, hook: &str, rule: &str) -> Done<()> {
    run(&format!("nft add table {family} bench"))?;
    run(&format!(
        "nft add chain {family} bench drops {{ {hook} ; }}"
    ))?;
    run(&format!("nft add rule {family} bench drops {rule}"))
}
