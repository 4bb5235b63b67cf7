//! What a record asks of its node's network: a name, addresses, a table of routes and the rules that lead to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use eniway_api::{Addressing, Ec2Status, InterfaceWish, Routing, RpFilter};
use ipnet::{IpNet, Ipv4Net};

use crate::{
    netlink::{Rule, TABLES},
    sysctl::Sysctl,
};

/// Our rules are asked after those of the VPC CNI (up to 1536) and before those of ec2-net-utils (from 10000).
const RULE_PRIORITY: u32 = 9_000;
/// Every IPv6 subnet's router.
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0x0ec2, 0, 0, 0, 0, 0, 1);

/// What the node's network should have of an interface, and all that it may have of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// An alternative name.
    pub name: Option<String>,
    /// With the length of their network.
    pub addresses: Vec<IpNet>,
    pub sysctls: BTreeMap<Sysctl, u32>,
    /// The interface's table, whether it is used or not. Absent while its place on the instance is not known.
    pub table: Option<u32>,
    /// Routes of that table.
    pub ways: Vec<Way>,
    pub rules: BTreeSet<Rule>,
    /// Whether nobody else is to configure it.
    pub is_ours: bool,
    /// Whatever leaves the interface with one of these keeps it. Only IPv4 is translated to the node's address.
    pub sources: Vec<Ipv4Net>,
    /// Addresses and prefixes that pods may have.
    pub pods: Vec<IpNet>,
}

/// A route, without its interface and table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub destination: IpNet,
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
}

/// What `wish` means for the interface that EC2 described.
#[must_use]
pub fn network(wish: Option<&InterfaceWish>, ec2: &Ec2Status) -> Network {
    let table = ec2.device_index.map(|index| {
        let card = u32::from(ec2.network_card_index.unwrap_or_default());
        TABLES.start + 100 * card + u32::from(index.0)
    });
    let Some(wish) = wish else {
        return Network {
            table,
            ..Network::default()
        };
    };
    let mut network = Network {
        name: wish.name.clone(),
        table,
        ..Network::default()
    };
    let mut of_pods = ec2.prefixes.clone();
    match wish.addressing.unwrap_or_default() {
        Addressing::None => return network,
        Addressing::Host => network.addresses.clone_from(&ec2.addresses),
        Addressing::Pods => {
            let (first, others) = firsts(&ec2.addresses);
            network.addresses = first;
            of_pods.extend(others);
        }
    }
    network.is_ours = true;
    in_its_subnet(&mut network.addresses, &ec2.subnet_cidrs);
    network.sysctls = sysctls(wish.rp_filter.unwrap_or_default());
    let sources = ec2.addresses.iter().chain(&ec2.prefixes);
    let sources = sources.filter_map(|source| match source {
        IpNet::V4(source) => Some(source.trunc()),
        IpNet::V6(_) => None,
    });
    network.sources = sources.collect();
    let Some(table) = table else { return network };
    match wish.routing {
        Some(Routing::None) => {}
        Some(Routing::Policy) | None => {
            let sources = ec2.addresses.iter().chain(&ec2.prefixes);
            let rule = |source: &IpNet| Rule {
                source: *source,
                table,
                priority: RULE_PRIORITY,
            };
            network.rules = sources.map(rule).collect();
            network.ways = ways(ec2);
            network.pods = of_pods;
        }
    }
    network
}

/// The first address of each family, and the others.
fn firsts(addresses: &[IpNet]) -> (Vec<IpNet>, Vec<IpNet>) {
    let is_first = |one: &IpNet| {
        let same = |other: &&IpNet| other.addr().is_ipv4() == one.addr().is_ipv4();
        addresses.iter().find(same) == Some(one)
    };
    addresses.iter().partition(|one| is_first(one))
}

/// The primary IPv4 address is in its subnet, so that ARP for its router asks with it, whatever other addresses
/// somebody gave the interface (arp_announce prefers one of the asked network).
fn in_its_subnet(addresses: &mut [IpNet], subnets: &[IpNet]) {
    let is_v4 = |one: &IpNet| one.addr().is_ipv4();
    let Some(primary) = addresses.iter_mut().find(|one| is_v4(one)) else {
        return;
    };
    let subnet = subnets
        .iter()
        .find(|subnet| subnet.contains(&primary.addr()));
    let within = subnet.and_then(|subnet| IpNet::new(primary.addr(), subnet.prefix_len()).ok());
    *primary = within.unwrap_or(*primary);
}

/// ARP speaks of the interface's own addresses and no others, so that two interfaces in one subnet do not answer
/// for each other. Routers' announcements would add a route to everywhere to the node's own.
fn sysctls(rp_filter: RpFilter) -> BTreeMap<Sysctl, u32> {
    let rp_filter = match rp_filter {
        RpFilter::Off => 0,
        RpFilter::Strict => 1,
        RpFilter::Loose => 2,
    };
    BTreeMap::from([
        (Sysctl::RpFilter, rp_filter),
        (Sysctl::ArpIgnore, 1),
        (Sysctl::ArpAnnounce, 2),
        (Sysctl::AcceptRa, 0),
    ])
}

/// The subnet's blocks on the link and all else by its router, of each family in which the interface has an
/// address.
fn ways(ec2: &Ec2Status) -> Vec<Way> {
    let primary = |v4: bool| {
        let mut addresses = ec2.addresses.iter().map(IpNet::addr);
        addresses.find(|address| address.is_ipv4() == v4)
    };
    let blocks = ec2.subnet_cidrs.iter();
    let mut ways: Vec<Way> = blocks
        .filter_map(|block| {
            let source = primary(block.addr().is_ipv4())?;
            Some(Way {
                destination: block.trunc(),
                gateway: None,
                source: Some(source),
            })
        })
        .collect();
    for v4 in [true, false] {
        let Some(source) = primary(v4) else { continue };
        let blocks = ec2.subnet_cidrs.iter();
        let block = blocks
            .filter(|block| block.contains(&source))
            .map(IpNet::network);
        let Some(gateway) = block.map(router).next() else {
            continue;
        };
        ways.push(Way {
            destination: everywhere(v4),
            gateway: Some(gateway),
            source: Some(source),
        });
    }
    ways
}

/// The router of the subnet that starts here (VPC user guide, "Subnet CIDR blocks": the second address).
fn router(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().saturating_add(1)).into(),
        IpAddr::V6(_) => ROUTER6.into(),
    }
}

fn everywhere(v4: bool) -> IpNet {
    if v4 {
        IpNet::V4(Ipv4Net::default())
    } else {
        IpNet::V6(ipnet::Ipv6Net::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ec2() -> Ec2Status {
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
        Ec2Status {
            device_index: Some(eniway_api::DeviceIndex(2)),
            network_card_index: Some(1),
            subnet_cidrs: nets(&["10.0.1.0/24", "2600:1f13::/64"]),
            addresses: nets(&["10.0.1.7/32", "10.0.1.9/32", "2600:1f13::7/128"]),
            prefixes: nets(&["10.0.1.16/28"]),
            ..Ec2Status::default()
        }
    }

    #[test]
    fn without_a_wish_nothing_is_asked_of_the_network() {
        let network = network(None, &ec2());
        let nothing = Network {
            table: Some(20_102),
            ..Network::default()
        };
        assert_eq!(network, nothing);
        // What somebody else gave an interface is not ours to keep.
        let unaddressed = InterfaceWish::default();
        let network = super::network(Some(&unaddressed), &ec2());
        assert!(network.sources.is_empty() && !network.is_ours);
    }

    #[test]
    fn the_host_has_the_addresses_and_answers_from_where_it_was_asked() {
        let wish = InterfaceWish {
            addressing: Some(Addressing::Host),
            ..InterfaceWish::default()
        };
        let network = network(Some(&wish), &ec2());
        let addresses: Vec<_> = network.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            addresses,
            ["10.0.1.7/24", "10.0.1.9/32", "2600:1f13::7/128"]
        );
        assert_eq!(network.sysctls[&Sysctl::RpFilter], 2);
        let kept: Vec<_> = network.sources.iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["10.0.1.7/32", "10.0.1.9/32", "10.0.1.16/28"]);
        let sources: Vec<_> = network
            .rules
            .iter()
            .map(|rule| rule.source.to_string())
            .collect();
        assert_eq!(
            sources,
            [
                "10.0.1.7/32",
                "10.0.1.9/32",
                "10.0.1.16/28",
                "2600:1f13::7/128"
            ]
        );
        let ways: Vec<_> = network
            .ways
            .iter()
            .map(|way| {
                let by = way.gateway.map(|gateway| gateway.to_string());
                format!("{} by {}", way.destination, by.unwrap_or_default())
            })
            .collect();
        assert_eq!(
            ways,
            [
                "10.0.1.0/24 by ",
                "2600:1f13::/64 by ",
                "0.0.0.0/0 by 10.0.1.1",
                "::/0 by fe80:ec2::1"
            ]
        );
    }

    #[test]
    fn pods_have_what_the_node_has_not() {
        let pods = |addressing, routing| {
            let wish = InterfaceWish {
                addressing: Some(addressing),
                routing,
                ..InterfaceWish::default()
            };
            let network = network(Some(&wish), &ec2());
            let text = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
            (text(&network.addresses).len(), text(&network.pods))
        };
        assert_eq!(
            pods(Addressing::Pods, None),
            (2, vec!["10.0.1.16/28".to_owned(), "10.0.1.9/32".to_owned()])
        );
        let host = (3, vec!["10.0.1.16/28".to_owned()]);
        assert_eq!(pods(Addressing::Host, None), host);
        // Without routes nothing that a pod sends would leave by the ENI.
        let none = pods(Addressing::Pods, Some(Routing::None));
        assert_eq!(none, (2, Vec::new()));
        assert_eq!(pods(Addressing::None, None), (0, Vec::new()));
    }

    #[test]
    fn routes_can_be_left_to_others() {
        let wish = InterfaceWish {
            addressing: Some(Addressing::Host),
            routing: Some(Routing::None),
            rp_filter: Some(RpFilter::Strict),
            ..InterfaceWish::default()
        };
        let network = network(Some(&wish), &ec2());
        assert!(network.rules.is_empty() && network.ways.is_empty());
        assert_eq!(network.sysctls[&Sysctl::RpFilter], 1);
    }
}
