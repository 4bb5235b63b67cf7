//! What an interface says about its XDP program, by one rtnetlink message.

use std::io;

use nix::net::if_::if_indextoname;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::{Error, IngressMode};
use crate::netlink::message::{self, HEADER, attribute, field};

/// The XDP program of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Xdp {
    pub(super) mode: IngressMode,
    pub(super) program_id: u32,
}

// linux/rtnetlink.h and linux/if_link.h.
const RTM_GETLINK: u16 = 18;
const RTM_NEWLINK: u16 = 16;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_SKB: u8 = 2;

/// `ifinfomsg`.
const LINK_HEADER: usize = 16;

/// The XDP program of an interface, if it has one.
///
/// The values of a query are not the flags of an attachment: generic is 2 in both, native 1 here and
/// 4 there (cilium#30132).
pub(super) fn xdp(ifindex: u32) -> Result<Option<Xdp>, Error> {
    let reply = get_link(ifindex).map_err(|source| Error::Interface { ifindex, source })?;
    let Some(attributes) = reply.get(HEADER + LINK_HEADER..) else {
        return Ok(None);
    };
    let Some(nest) = attribute(attributes, IFLA_XDP) else {
        return Ok(None);
    };
    let program_id = attribute(nest, IFLA_XDP_PROG_ID)
        .and_then(|value| value.first_chunk())
        .map(|value| u32::from_ne_bytes(*value));
    let attached = attribute(nest, IFLA_XDP_ATTACHED).and_then(|value| value.first().copied());
    Ok(program_id.filter(|&id| id != 0).map(|program_id| Xdp {
        mode: if attached == Some(XDP_ATTACHED_SKB) {
            IngressMode::XdpGeneric
        } else {
            IngressMode::XdpNative
        },
        program_id,
    }))
}

/// The interface's present name, for the calls of aya that want one.
pub(super) fn name(ifindex: u32) -> Result<String, Error> {
    let name = if_indextoname(ifindex).map_err(|errno| Error::Interface {
        ifindex,
        source: errno.into(),
    })?;
    Ok(name.to_string_lossy().into_owned())
}

fn get_link(ifindex: u32) -> io::Result<Vec<u8>> {
    let mut body = [0; LINK_HEADER];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let request = message::message(RTM_GETLINK, false, &body);
    match message::ask(NETLINK_ROUTE, &request)? {
        Ok(reply) if field(&reply, 4) == Some(RTM_NEWLINK) => Ok(reply),
        Ok(_) => Err(io::Error::other("an answer that is not a link")),
        Err(refusal) => Err(refusal.errno.into()),
    }
}
