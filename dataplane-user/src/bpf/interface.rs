//! What an interface says about its programs, by one rtnetlink message.

use std::io;

use aya::programs::TcAttachType;
use nix::net::if_::if_indextoname;

use super::{Error, IngressMode};
use crate::netlink::message::{self, HEADER, NETLINK_ROUTE, attribute, field};

/// The XDP program of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Xdp {
    pub(super) mode: IngressMode,
    pub(super) program_id: u32,
}

// linux/rtnetlink.h, linux/if_link.h and linux/pkt_cls.h.
const RTM_GETLINK: u16 = 18;
const RTM_NEWLINK: u16 = 16;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_SKB: u8 = 2;

const RTM_GETTFILTER: u16 = 46;
const RTM_NEWTFILTER: u16 = 44;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
const ETH_P_ALL: u16 = 3;

/// `tcmsg`.
const FILTER_HEADER: usize = 20;
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

/// The program of the filter at this place of an interface's clsact qdisc, if there is one.
pub(super) fn filter(
    ifindex: u32,
    direction: TcAttachType,
    priority: u16,
    handle: u32,
) -> io::Result<Option<u32>> {
    let parent = match direction {
        TcAttachType::Egress => CLSACT_EGRESS,
        _ => CLSACT_INGRESS,
    };
    let protocol = u32::from(ETH_P_ALL.to_be());
    let mut body = vec![0; 4];
    for field in [
        ifindex,
        handle,
        parent,
        u32::from(priority) << 16 | protocol,
    ] {
        body.extend(field.to_ne_bytes());
    }
    // What refuses has no such filter, no such qdisc or no such interface.
    let answer = message::ask(
        NETLINK_ROUTE,
        &message::message(RTM_GETTFILTER, false, &body),
    )?;
    let attributes = answer
        .as_deref()
        .ok()
        .filter(|answer| field(answer, 4) == Some(RTM_NEWTFILTER));
    let attributes = attributes.and_then(|answer| answer.get(HEADER + FILTER_HEADER..));
    let options = attributes.and_then(|attributes| attribute(attributes, TCA_OPTIONS));
    let program = options.and_then(|options| attribute(options, TCA_BPF_ID));
    Ok(program.and_then(|id| Some(u32::from_ne_bytes(*id.first_chunk()?))))
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
