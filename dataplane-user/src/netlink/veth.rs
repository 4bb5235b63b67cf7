//! A pod's veth: makes it across two namespaces, and gives both ends what the stacks need.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd as _, BorrowedFd},
    pin::pin,
};

use futures::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth, new_connection,
    packet_route::{
        address::{AddressAttribute, AddressFlags},
        link::{InfoData, InfoVeth, LinkAttribute, LinkMessage},
        route::RouteHeader,
    },
};

use super::{Error, IfIndex, Netlink};

/// The table in which everybody looks.
pub const MAIN_TABLE: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// One end of a veth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub index: IfIndex,
    pub mac: [u8; 6],
}

impl Netlink {
    /// Opens the door to the namespace of this thread, for requests alone.
    pub fn here() -> Result<Self, Error> {
        let (requests, handle, _) = new_connection().map_err(Error::Open)?;
        tokio::spawn(requests);
        Ok(Self(handle))
    }

    /// Makes a veth: one end here, the other, named `far`, in the namespace `there`.
    pub async fn add_veth(
        &self,
        name: &str,
        far: &str,
        there: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let peer: LinkMessage = LinkMessageBuilder::<LinkUnspec>::new()
            .name(far)
            .setns_by_fd(there.as_raw_fd())
            .build();
        let veth = LinkVeth::new(name, far).set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        let added = self.0.link().add(veth.build()).execute().await;
        added.map_err(changing(format!(
            "make the veth {name}, whose far end is {far}"
        )))
    }

    /// The end of this name; `None` where there is none.
    pub async fn end(&self, name: &str) -> Result<Option<End>, Error> {
        let asked = self.0.link().get().match_name(name.to_owned()).execute();
        let message = match pin!(asked).try_next().await {
            Ok(message) => message,
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => None,
            Err(error) => return Err(changing(format!("look at {name}"))(error)),
        };
        Ok(message.and_then(|message| end(&message)))
    }

    /// The names and aliases of all links that have one.
    pub async fn aliases(&self) -> Result<Vec<(IfIndex, String)>, Error> {
        let links = self.0.link().get().execute();
        let named = links.try_filter_map(async |message| {
            let index = message.header.index;
            let alias = message.attributes.into_iter().find_map(|one| match one {
                LinkAttribute::IfAlias(alias) => Some(alias),
                _ => None,
            });
            Ok(alias.map(|alias| (index, alias)))
        });
        named.try_collect().await.map_err(Error::List)
    }

    pub async fn set_alias(&self, index: IfIndex, alias: &str) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).alias(alias).build();
        let set = self.0.link().set(message).execute().await;
        set.map_err(changing(format!("write down whose link {index} is")))
    }

    pub async fn remove_link(&self, index: IfIndex) -> Result<(), Error> {
        let removed = self.0.link().del(index).execute().await;
        removed.map_err(changing(format!("remove link {index}")))
    }

    /// An address and nothing beside it: no network, no duplicates looked for.
    pub async fn add_host_address(&self, index: IfIndex, address: IpAddr) -> Result<(), Error> {
        let request = self.0.address();
        let mut request = request.add(index, address, IpNet::from(address).prefix_len());
        let flags = AddressFlags::Noprefixroute | AddressFlags::Nodad;
        let attributes = &mut request.message_mut().attributes;
        attributes.push(AddressAttribute::Flags(flags));
        let added = request.execute().await;
        added.map_err(changing(format!("give link {index} the address {address}")))
    }

    /// A neighbour for good, so that nobody need be asked.
    pub async fn add_neighbour(
        &self,
        index: IfIndex,
        address: IpAddr,
        mac: [u8; 6],
    ) -> Result<(), Error> {
        let request = self.0.neighbours().add(index, address);
        let added = request.link_layer_address(&mac).replace().execute().await;
        added.map_err(changing(format!(
            "tell link {index} of its neighbour {address}"
        )))
    }
}

fn end(message: &LinkMessage) -> Option<End> {
    let mac = message.attributes.iter().find_map(|one| match one {
        LinkAttribute::Address(octets) => octets.as_slice().try_into().ok(),
        _ => None,
    })?;
    let index = message.header.index;
    Some(End { index, mac })
}

fn changing(what: String) -> impl FnOnce(rtnetlink::Error) -> Error {
    move |source| Error::Change { what, source }
}
