//! Addresses, routes and rules of the namespace: what is there, and each change of it.
//!
//! What is ours bears our number where the kernel keeps one: routes and rules always did, addresses do since
//! Linux 5.18.

use std::net::IpAddr;

use futures::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::{
    IpVersion, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol},
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
            RouteScope,
        },
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};

use super::{Error, IfIndex, Netlink, Release, Sources};

/// Our number among those that change routes. Nobody is known to use it (iproute2's rt_protos and rt_protos.d;
/// 186 to 192 are FRR's).
pub const PROTOCOL: u8 = 229;

/// Tables that are ours: 20000 + 100 × network card + device index, of up to 32 cards. ec2-net-utils and the VPC CNI
/// count from 1 and from 10000.
pub const TABLES: std::ops::Range<u32> = 20_000..23_200;

/// What the namespace has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Everybody's.
    pub addresses: Vec<Address>,
    /// Ours.
    pub routes: Vec<Route>,
    /// Ours.
    pub rules: Vec<Rule>,
    /// Who translates addresses.
    pub sources: Sources,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub interface: IfIndex,
    /// With the length of its network.
    pub address: IpNet,
    /// We gave it.
    pub ours: bool,
}

/// A way to `destination` by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub interface: IfIndex,
    pub table: u32,
    pub destination: IpNet,
    /// `None`: the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// From where is sent what has no sender yet.
    pub source: Option<IpAddr>,
}

/// What is sent from `source` looks into `table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub source: IpNet,
    pub table: u32,
    /// Smaller ones are asked first.
    pub priority: u32,
}

impl Netlink {
    /// Every address, and our routes and rules. What a kernel without IPv6 does not know is not there.
    pub async fn stack(&self) -> Result<Stack, Error> {
        let marked = Release::current() >= Release(5, 18);
        let addresses = self.0.address().get().execute();
        let mut stack = Stack {
            addresses: addresses
                .try_filter_map(async |message| Ok(address(&message, marked)))
                .try_collect()
                .await
                .map_err(Error::Stack)?,
            ..Stack::default()
        };
        for version in [IpVersion::V4, IpVersion::V6] {
            let mut asked = RouteMessage::default();
            asked.header.address_family = match version {
                IpVersion::V4 => AddressFamily::Inet,
                IpVersion::V6 => AddressFamily::Inet6,
            };
            asked.header.protocol = RouteProtocol::Other(PROTOCOL);
            let routes = self.0.route().get(asked).execute();
            let routes = routes.try_filter_map(async |message| Ok(route(&message)));
            stack.routes.extend(or_none(routes.try_collect().await)?);
            let rules = self.0.rule().get(version).execute();
            let rules = rules.try_filter_map(async |message| Ok(rule(&message)));
            stack.rules.extend(or_none(rules.try_collect().await)?);
        }
        Ok(stack)
    }

    /// The interface by which the node's own default route leads, of IPv4 or else of IPv6: that of the smallest metric in
    /// the main table.
    pub async fn default_interface(&self) -> Result<Option<IfIndex>, Error> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut asked = RouteMessage::default();
            asked.header.address_family = family;
            asked.header.table = RouteHeader::RT_TABLE_MAIN;
            let routes = self.0.route().get(asked).execute();
            let defaults = routes.try_filter_map(async |message| Ok(default_route(&message)));
            let defaults: Vec<_> = or_none(defaults.try_collect().await)?;
            if let Some((_, interface)) = defaults.into_iter().min() {
                return Ok(Some(interface));
            }
        }
        Ok(None)
    }

    pub async fn add_address(&self, interface: IfIndex, address: IpNet) -> Result<(), Error> {
        let request = self.0.address();
        let mut request = request
            .add(interface, address.addr(), address.prefix_len())
            .replace();
        // No route comes with it, and nobody else has it: EC2 sees to that.
        let flags = AddressFlags::Noprefixroute | AddressFlags::Nodad;
        let protocol = AddressProtocol::Other(PROTOCOL);
        let attributes = &mut request.message_mut().attributes;
        attributes.push(AddressAttribute::Flags(flags));
        attributes.push(AddressAttribute::Protocol(protocol));
        request.execute().await.map_err(refused(format!(
            "give link {interface} the address {address}"
        )))
    }

    pub async fn remove_address(&self, interface: IfIndex, address: IpNet) -> Result<(), Error> {
        // The request to add one is the message that names it.
        let mut named = self
            .0
            .address()
            .add(interface, address.addr(), address.prefix_len());
        let message = named.message_mut().clone();
        let removed = self.0.address().del(message).execute().await;
        removed.map_err(refused(format!(
            "take the address {address} off link {interface}"
        )))
    }

    /// Adds a route, or puts it in the place of one to the same destination.
    pub async fn add_route(&self, route: Route) -> Result<(), Error> {
        let request = self.0.route().add(message(&route)).replace();
        request
            .execute()
            .await
            .map_err(refused(format!("add a route to {}", route.destination)))
    }

    pub async fn remove_route(&self, route: Route) -> Result<(), Error> {
        let request = self.0.route().del(message(&route));
        request.execute().await.map_err(refused(format!(
            "remove the route to {}",
            route.destination
        )))
    }

    pub async fn add_rule(&self, wanted: Rule) -> Result<(), Error> {
        let mut request = self.0.rule().add();
        *request.message_mut() = rule_message(&wanted);
        request
            .execute()
            .await
            .map_err(refused(format!("add a rule for {}", wanted.source)))
    }

    pub async fn remove_rule(&self, rule: Rule) -> Result<(), Error> {
        let request = self.0.rule().del(rule_message(&rule));
        request
            .execute()
            .await
            .map_err(refused(format!("remove the rule for {}", rule.source)))
    }
}

/// Whether the route stands in a table that eniway uses.
pub(super) fn is_in_our_table(message: &RouteMessage) -> bool {
    message.attributes.iter().any(
        |attribute| matches!(attribute, RouteAttribute::Table(table) if TABLES.contains(table)),
    )
}

/// Whether we made the rule.
pub(super) fn is_ours(message: &RuleMessage) -> bool {
    let ours = RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL));
    message.attributes.contains(&ours)
}

fn refused(what: String) -> impl FnOnce(rtnetlink::Error) -> Error {
    move |source| Error::Change { what, source }
}

/// Nothing of a family that the kernel does not know.
fn or_none<T>(read: Result<Vec<T>, rtnetlink::Error>) -> Result<Vec<T>, Error> {
    match read {
        Err(rtnetlink::Error::NetlinkError(error))
            if matches!(-error.raw_code(), libc::EAFNOSUPPORT | libc::EOPNOTSUPP) =>
        {
            Ok(Vec::new())
        }
        read => read.map_err(Error::Stack),
    }
}

/// `marked`: the kernel keeps our number.
fn address(message: &AddressMessage, marked: bool) -> Option<Address> {
    let (mut found, mut local, mut protocol, mut flags) = (None, None, None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(address) => found = Some(*address),
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Protocol(number) => protocol = Some(*number),
            AddressAttribute::Flags(told) => flags = *told,
            _ => {}
        }
    }
    // Of a link between two, `Address` is the other end's.
    let address = local.or(found)?;
    Some(Address {
        interface: message.header.index,
        address: IpNet::new(address, message.header.prefix_len).ok()?,
        ours: match protocol {
            Some(number) => number == AddressProtocol::Other(PROTOCOL),
            None => !marked && flags.contains(AddressFlags::Noprefixroute),
        },
    })
}

/// Metric and interface of a default route of the main table.
fn default_route(message: &RouteMessage) -> Option<(u32, IfIndex)> {
    let header = &message.header;
    if header.destination_prefix_length != 0 || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut metric, mut interface) = (0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    Some((metric, interface?))
}

/// `None` for others' routes: a kernel before 4.20 tells of all.
fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Other(PROTOCOL) {
        return None;
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => [0; 4].into(),
        _ => [0; 16].into(),
    };
    let (mut destination, mut gateway, mut source) = (any, None, None);
    let (mut interface, mut table) = (0, u32::from(header.table));
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => destination = ip(to)?,
            RouteAttribute::Gateway(by) => gateway = ip(by),
            RouteAttribute::PrefSource(from) => source = ip(from),
            RouteAttribute::Oif(index) => interface = *index,
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    // Those in other tables are pods'.
    TABLES.contains(&table).then_some(())?;
    Some(Route {
        interface,
        table,
        destination: IpNet::new(destination, header.destination_prefix_length).ok()?,
        gateway,
        source,
    })
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn message(route: &Route) -> RouteMessage {
    let Route { destination, .. } = route;
    let builder = RouteMessageBuilder::<IpAddr>::new()
        .output_interface(route.interface)
        .table_id(route.table)
        .protocol(RouteProtocol::Other(PROTOCOL));
    let on_link = route.gateway.is_none() && destination.addr().is_ipv4();
    let builder = if on_link {
        builder.scope(RouteScope::Link)
    } else {
        builder
    };
    let mut message = builder.build();
    message.header.address_family = family(destination.addr());
    message.header.destination_prefix_length = destination.prefix_len();
    if destination.prefix_len() > 0 {
        let destination = RouteAttribute::Destination(destination.network().into());
        message.attributes.push(destination);
    }
    if let Some(gateway) = route.gateway {
        // It need not lie in a network of the interface: the table is all that knows of it.
        message.header.flags |= RouteFlags::Onlink;
        message
            .attributes
            .push(RouteAttribute::Gateway(gateway.into()));
    }
    if let Some(source) = route.source {
        message
            .attributes
            .push(RouteAttribute::PrefSource(source.into()));
    }
    message
}

/// `None` for what others made, or for a rule of a kind that we do not make.
fn rule(message: &RuleMessage) -> Option<Rule> {
    let mut table = u32::from(message.header.table);
    let (mut source, mut priority) = (None, 0);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(address) => source = Some(*address),
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Priority(number) => priority = *number,
            _ => {}
        }
    }
    let source = IpNet::new(source?, message.header.src_len).ok()?;
    is_ours(message).then_some(Rule {
        source,
        table,
        priority,
    })
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(rule.source.addr());
    message.header.src_len = rule.source.prefix_len();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Source(rule.source.network()),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    message
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
