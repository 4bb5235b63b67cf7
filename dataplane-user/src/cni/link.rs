//! A pod's veth: one end in its namespace, the other on the node.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd as _,
};

use ipnet::IpNet;
use nix::sched::{CloneFlags, setns};

use super::message::{Failure, code};
use crate::{
    apply::Chain,
    config::CniCall,
    netlink::{self, End, Error, IfIndex, MAIN_TABLE, Netlink, Route},
    pods::Place,
};

/// What a pod takes for its router: the node's end, which nobody else can be.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Before the alias of the node's end: network, container and interface follow.
const ALIAS: &str = "eniway";

pub(super) const fn gateway(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(GATEWAY),
        IpAddr::V6(_) => IpAddr::V6(GATEWAY6),
    }
}

/// A veth that was made.
pub(super) struct Veth {
    node: Netlink,
    pod: Netlink,
    pub(super) node_name: String,
    pub(super) node_end: End,
    pub(super) pod_end: End,
}

impl Veth {
    pub(super) async fn create(
        call: &CniCall,
        network: &str,
        namespace: File,
    ) -> Result<Self, Failure> {
        let node = Netlink::here().map_err(refused)?;
        let here = File::open("/proc/thread-self/ns/net").map_err(failed("open this namespace"))?;
        // A netlink socket stays in the namespace in which it was opened.
        enter(&namespace)?;
        let opened = Netlink::here().map_err(refused);
        enter(&here)?;
        let pod = opened?;
        let node_name = node_name(call, network);
        pod.add_veth(&call.interface, &node_name, here.as_fd())
            .await
            .map_err(refused)?;
        let alias = alias(network, &call.container, &call.interface);
        let known = async {
            enter(&namespace)?;
            allow_ipv6(&call.interface);
            // So that steering rules may redirect to it, too. A kernel before Linux 5.13 has no such way.
            let _no_redirects = netlink::take_from_xdp(&call.interface);
            enter(&here)?;
            let gone = || Failure::new(code::KERNEL, "the veth is gone while it is made");
            let node_end = node.end(&node_name).await.map_err(refused)?;
            let node_end = node_end.ok_or_else(gone)?;
            let pod_end = pod.end(&call.interface).await.map_err(refused)?;
            let named = node.set_alias(node_end.index, &alias).await;
            named.map_err(refused)?;
            Ok((node_end, pod_end.ok_or_else(gone)?))
        };
        let known: Result<(End, End), Failure> = known.await;
        let (node_end, pod_end) = match known {
            Ok(ends) => ends,
            Err(failure) => {
                if let Ok(Some(end)) = node.end(&node_name).await {
                    let _left_for_gc = node.remove_link(end.index).await;
                }
                return Err(failure);
            }
        };
        Ok(Self {
            node,
            pod,
            node_name,
            node_end,
            pod_end,
        })
    }

    /// Gives both ends addresses, neighbours and routes, and sets them up.
    pub(super) async fn furnish(
        &self,
        place: &Place,
        routes: &[IpNet],
        mtu: u32,
    ) -> Result<(), Failure> {
        let furnished = self.give(place, routes, mtu).await;
        furnished.map_err(refused)
    }

    async fn give(&self, place: &Place, routes: &[IpNet], mtu: u32) -> Result<(), Error> {
        let Self {
            node,
            pod,
            node_end,
            pod_end,
            ..
        } = self;
        for (door, end) in [(node, node_end), (pod, pod_end)] {
            door.set_mtu(end.index, mtu).await?;
            door.set_up(end.index).await?;
        }
        for address in &place.addresses {
            let gateway = gateway(*address);
            pod.add_host_address(pod_end.index, *address).await?;
            pod.add_neighbour(pod_end.index, gateway, node_end.mac)
                .await?;
            node.add_neighbour(node_end.index, *address, pod_end.mac)
                .await?;
            for table in [MAIN_TABLE, place.table] {
                let route = Route {
                    interface: node_end.index,
                    table,
                    destination: IpNet::from(*address),
                    gateway: None,
                    source: None,
                };
                node.add_route(route).await?;
            }
        }
        for destination in routes {
            let route = Route {
                interface: pod_end.index,
                table: MAIN_TABLE,
                destination: *destination,
                gateway: Some(gateway(destination.addr())),
                source: None,
            };
            pod.add_route(route).await?;
        }
        Ok(())
    }

    /// After a failure, of which more is to be said than of this one.
    pub(super) async fn remove(&self) {
        let _left_for_gc = self.node.remove_link(self.node_end.index).await;
    }
}

/// The node's end of a pod's veth; `None`: it is gone.
pub(super) async fn find(call: &CniCall, network: &str) -> Result<Option<End>, Failure> {
    let node = Netlink::here().map_err(refused)?;
    node.end(&node_name(call, network)).await.map_err(refused)
}

pub(super) async fn remove(interface: IfIndex) -> Result<(), Failure> {
    let node = Netlink::here().map_err(refused)?;
    node.remove_link(interface).await.map_err(refused)
}

/// The node's ends of a network's veths that belong to no attachment among `valid`.
pub(super) async fn strays(
    network: &str,
    valid: &[(String, String)],
) -> Result<Vec<IfIndex>, Failure> {
    let node = Netlink::here().map_err(refused)?;
    let aliases = node.aliases().await.map_err(refused)?;
    let valid: Vec<String> = valid
        .iter()
        .map(|(container, interface)| alias(network, container, interface))
        .collect();
    let ours = format!("{ALIAS} {network} ");
    let stray = |alias: &str| alias.starts_with(&ours) && !valid.iter().any(|one| one == alias);
    Ok(aliases
        .into_iter()
        .filter(|(_, alias)| stray(alias))
        .map(|(index, _)| index)
        .collect())
}

fn alias(network: &str, container: &str, interface: &str) -> String {
    format!("{ALIAS} {network} {container} {interface}")
}

/// A name of 15 bytes, the most that the kernel takes: FNV-1a over what makes the attachment its own, for it must
/// be the same in every release.
///
/// It does not begin as the veths of the VPC CNI do (`eni`), by which iptables' rules and Calico know pods of theirs.
fn node_name(call: &CniCall, network: &str) -> String {
    let text = alias(network, &call.container, &call.interface);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("enw{:012x}", hash >> 16)
}

/// Some runtimes forbid IPv6 to new interfaces. Where there is none at all there is nothing to allow.
fn allow_ipv6(interface: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    let _nothing_to_allow = std::fs::write(path, "0");
}

fn enter(namespace: &File) -> Result<(), Failure> {
    setns(namespace, CloneFlags::CLONE_NEWNET)
        .map_err(|errno| failed("enter the pod's namespace")(errno.into()))
}

fn failed(attempt: &'static str) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(code::KERNEL, format!("{attempt}: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn refused(error: Error) -> Failure {
    Failure::new(code::KERNEL, Chain(&error).to_string())
}

impl CniCall {
    /// Opens the pod's namespace.
    pub(super) fn namespace(&self) -> Result<File, Failure> {
        File::open(&self.namespace).map_err(|error| {
            let message = format!("open the pod's namespace {:?}: {error}", self.namespace);
            Failure::new(code::ENVIRONMENT, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_attachments_apart_and_stays_the_same() {
        let call = |container: &str, interface: &str| CniCall {
            command: "ADD".to_owned(),
            container: container.to_owned(),
            namespace: String::new(),
            interface: interface.to_owned(),
        };
        let name = node_name(&call("a", "net1"), "fast");
        assert_eq!(name, "enw1de6451dd500");
        assert_ne!(node_name(&call("a", "net2"), "fast"), name);
        assert_ne!(node_name(&call("b", "net1"), "fast"), name);
        assert_ne!(node_name(&call("a", "net1"), "slow"), name);
    }
}
