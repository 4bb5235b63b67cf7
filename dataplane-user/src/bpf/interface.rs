//! What an interface says about its XDP program, by one rtnetlink message.

use std::{io, os::fd::AsRawFd as _};

use nix::{
    errno::Errno,
    net::if_::if_indextoname,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
        socket,
    },
};

use super::{Error, IngressMode};

/// The XDP program of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Xdp {
    pub(super) mode: IngressMode,
    pub(super) program_id: u32,
}

// linux/rtnetlink.h and linux/if_link.h.
const RTM_GETLINK: u16 = 18;
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_SKB: u8 = 2;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// `nlmsghdr` and `ifinfomsg`, 16 bytes each.
const HEADER: usize = 16;

/// The XDP program of an interface, if it has one.
///
/// The values of a query are not the flags of an attachment: generic is 2 in both, native 1 here and
/// 4 there (cilium#30132).
pub(super) fn xdp(ifindex: u32) -> Result<Option<Xdp>, Error> {
    let reply = get_link(ifindex).map_err(|source| Error::Interface { ifindex, source })?;
    let Some(attributes) = reply.get(2 * HEADER..) else {
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
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let mut request = [0; 2 * HEADER];
    request[..4].copy_from_slice(&32_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    // NLM_F_REQUEST.
    request[6..8].copy_from_slice(&1_u16.to_ne_bytes());
    request[HEADER + 4..HEADER + 8].copy_from_slice(&ifindex.to_ne_bytes());
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;

    // A link with its statistics is about 2 kB; virtual functions make it longer.
    let mut reply = vec![0; 64 * 1024];
    let length = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    reply.truncate(length);
    match field(&reply, 4) {
        Some(RTM_NEWLINK) => Ok(reply),
        Some(NLMSG_ERROR) => {
            let code = reply.get(HEADER..).and_then(|body| body.first_chunk());
            let code = code.map_or(0, |code| i32::from_ne_bytes(*code));
            Err(Errno::from_raw(-code).into())
        }
        _ => Err(io::Error::other("an answer that is not a link")),
    }
}

/// The value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(field(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if field(attributes, 2)? & NLA_TYPE_MASK == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn field(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|field| u16::from_ne_bytes(*field))
}
