//! The door to the kernel's links: lists them, tells when one changes, sets them up.

mod device;
mod ethtool;
mod features;
pub(crate) mod message;
mod nat;
mod stack;
mod veth;

use std::{fmt, io, sync::Arc};

use eniway_api::MacAddress;
use futures::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    Handle, LinkUnspec, MulticastGroup, new_connection_with_strict_check, new_multicast_connection,
    packet_core::NetlinkPayload,
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop},
        route::RouteProtocol,
    },
};
use tokio::{
    sync::Notify,
    task::{JoinHandle, spawn_blocking},
};

pub use self::{
    device::{Channels, Device, Driver, Release, XdpFeatures},
    nat::{KeptSource, Nat, Sources},
    stack::{Address, PROTOCOL, Route, Rule, Stack, TABLES},
    veth::{End, MAIN_TABLE},
};

/// The index of a link, which means something in one network namespace only.
pub type IfIndex = u32;

/// A link, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: IfIndex,
    pub name: String,
    /// Alternative names, by which the kernel finds it, too.
    pub other_names: Vec<String>,
    pub mac: MacAddress,
    /// What kind of virtual link it is (`veth`, `macvlan`, `vlan`, …); hardware has none.
    pub kind: Option<String>,
    /// The link on which it stands, for a link of such a kind.
    pub parent: Option<IfIndex>,
    pub up: bool,
    /// Bytes, without the Ethernet header.
    pub mtu: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    #[error("list the network links")]
    List(#[source] rtnetlink::Error),
    #[error("set {link} up")]
    SetUp {
        link: LinkName,
        #[source]
        source: rtnetlink::Error,
    },
    #[error("set the MTU of {link} to {mtu}")]
    SetMtu {
        link: LinkName,
        mtu: u32,
        #[source]
        source: rtnetlink::Error,
    },
    #[error("list addresses, routes and rules")]
    Stack(#[source] rtnetlink::Error),
    #[error("{what}")]
    Change {
        what: String,
        #[source]
        source: rtnetlink::Error,
    },
    #[error("{what}")]
    Nat {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("set the channels of {name} to {channels}")]
    SetChannels {
        name: String,
        channels: u32,
        #[source]
        source: io::Error,
    },
}

/// A link in the text of an error.
#[derive(Clone, Copy, Debug)]
pub struct LinkName(IfIndex);

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// Requests to the kernel about links of the namespace in which it was opened.
#[derive(Clone, Debug)]
pub struct Netlink(Handle);

/// Tells that some link has changed, some address, a route or rule of ours, or who translates addresses.
///
/// It does not tell which: the reader looks at all of them. So a burst is one look, and events that
/// the kernel had no room for (ENOBUFS) cost nothing but that look.
#[derive(Debug)]
pub struct Changes {
    changed: Arc<Notify>,
    listener: JoinHandle<()>,
}

const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Opens the door. The events are subscribed to first, so that no change falls between the first list
/// and the first event.
pub fn open() -> Result<(Netlink, Changes), Error> {
    let (events, _, mut messages) = new_multicast_connection(&GROUPS).map_err(Error::Open)?;
    let (requests, handle, _) = new_connection_with_strict_check().map_err(Error::Open)?;
    tokio::spawn(events);
    tokio::spawn(requests);

    let changed = Arc::new(Notify::new());
    tokio::spawn(nat::listen(Arc::clone(&changed)));
    let notify = Arc::clone(&changed);
    let listener = tokio::spawn(async move {
        while let Some((message, _)) = messages.next().await {
            if matters(&message.payload) {
                notify.notify_one();
            }
        }
    });
    Ok((Netlink(handle), Changes { changed, listener }))
}

/// Whether to look. Of routes and rules, which others change all day, ours matter when they go; a route of ours
/// that somebody replaces comes back as somebody's.
fn matters(payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    let NetlinkPayload::InnerMessage(message) = payload else {
        // Also that there was no room for events.
        return true;
    };
    let ours = RouteProtocol::Other(PROTOCOL);
    match message {
        RouteNetlinkMessage::NewRoute(route) => {
            route.header.protocol != ours && stack::is_in_our_table(route)
        }
        RouteNetlinkMessage::DelRoute(route) => route.header.protocol == ours,
        RouteNetlinkMessage::NewRule(_) => false,
        RouteNetlinkMessage::DelRule(rule) => stack::is_ours(rule),
        _ => true,
    }
}

impl Changes {
    /// Waits for a change since the last call. `None`: the kernel has closed the socket.
    pub async fn next(&mut self) -> Option<()> {
        tokio::select! {
            () = self.changed.notified() => Some(()),
            _ = &mut self.listener => None,
        }
    }
}

impl Netlink {
    /// Every Ethernet link.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        self.0
            .link()
            .get()
            .execute()
            .try_filter_map(async |message| Ok(link(message)))
            .try_collect()
            .await
            .map_err(Error::List)
    }

    pub async fn set_up(&self, index: IfIndex) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).up();
        let set = self.0.link().set(message.build()).execute().await;
        set.map_err(|source| Error::SetUp {
            link: LinkName(index),
            source,
        })
    }

    pub async fn add_name(&self, index: IfIndex, name: &str) -> Result<(), Error> {
        let request = self.0.link().property_add(index).alt_ifname(&[name]);
        request.execute().await.map_err(|source| Error::Change {
            what: format!("name link {index} {name} as well"),
            source,
        })
    }

    pub async fn remove_name(&self, index: IfIndex, name: &str) -> Result<(), Error> {
        let request = self.0.link().property_del(index).alt_ifname(&[name]);
        request.execute().await.map_err(|source| Error::Change {
            what: format!("take the name {name} off link {index}"),
            source,
        })
    }

    pub async fn set_mtu(&self, index: IfIndex, mtu: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).mtu(mtu);
        let set = self.0.link().set(message.build()).execute().await;
        set.map_err(|source| Error::SetMtu {
            link: LinkName(index),
            mtu,
            source,
        })
    }
}

/// The driver of a link, and what it can do. Absent parts are what the kernel does not tell.
///
/// On a thread of its own, as what follows: the kernel waits while a device restarts.
pub async fn device(index: IfIndex, name: String) -> Device {
    let looked = spawn_blocking(move || device::observe(index, &name)).await;
    looked.unwrap_or_default()
}

/// What a link offers to XDP; `None` before Linux 6.3.
pub async fn xdp_features(index: IfIndex) -> Option<XdpFeatures> {
    let asked = spawn_blocking(move || features::xdp_features(index)).await;
    asked.ok()?.ok()?
}

/// The counters of a link's driver, by name.
pub async fn counters(name: String) -> io::Result<Vec<(String, u64)>> {
    let read = spawn_blocking(move || ethtool::counters(&name)).await;
    read.map_err(io::Error::other)?
}

/// Uses so many channels, by a restart of the device.
pub async fn set_channels(name: String, channels: u32) -> Result<(), Error> {
    let link = name.clone();
    let set = spawn_blocking(move || ethtool::set_channels(&link, channels)).await;
    set.map_err(io::Error::other)
        .flatten()
        .map_err(|source| Error::SetChannels {
            name,
            channels,
            source,
        })
}

/// Lets a link of this thread's namespace, one end of a veth, take frames from XDP.
pub fn take_from_xdp(name: &str) -> io::Result<()> {
    ethtool::join_received(name)
}

/// `None` for what has no Ethernet address.
fn link(message: LinkMessage) -> Option<Link> {
    let (mut name, mut mac, mut kind, mut parent, mut mtu) = (None, None, None, None, 0);
    let mut other_names = Vec::new();
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value),
            LinkAttribute::Address(octets) => mac = octets.try_into().ok().map(MacAddress),
            LinkAttribute::Mtu(value) => mtu = value,
            LinkAttribute::Link(index) => parent = Some(index),
            LinkAttribute::PropList(properties) => {
                other_names.extend(properties.into_iter().filter_map(|one| match one {
                    Prop::AltIfName(name) => Some(name),
                    _ => None,
                }));
            }
            LinkAttribute::LinkInfo(infos) => {
                kind = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(Link {
        index: message.header.index,
        name: name?,
        other_names,
        mac: mac?,
        // Of a veth it is the other end.
        parent: parent.filter(|_| kind.as_deref() != Some("veth")),
        kind,
        up: message.header.flags.contains(LinkFlags::Up),
        mtu,
    })
}
