//! Asks the kernel what a link can do with XDP: the netdev family of generic netlink, since 6.3.

use std::{io, sync::OnceLock};

use nix::errno::Errno;

use super::{
    IfIndex,
    message::{self, HEADER, NETLINK_GENERIC, attribute, push},
};

/// What a driver offers to XDP programs, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures(pub u64);

impl XdpFeatures {
    /// Programs run in the driver.
    pub const BASIC: u64 = 1;
    /// They may redirect.
    pub const REDIRECT: u64 = 2;
    /// Other interfaces may redirect to it.
    pub const NDO_XMIT: u64 = 4;
    /// Packets of several buffers reach them.
    pub const RX_SG: u64 = 32;

    /// Whether all of `bits` are offered.
    #[must_use]
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }
}

// linux/genetlink.h and linux/netdev.h.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// `genlmsghdr`.
const GENERIC_HEADER: usize = 4;

/// What `link` offers; `None` before 6.3, and when the link has gone.
pub(super) fn xdp_features(link: IfIndex) -> io::Result<Option<XdpFeatures>> {
    let Some(family) = family()? else {
        return Ok(None);
    };
    let answer = message::ask(NETLINK_GENERIC, &device_get(family, link))?;
    Ok(answer.ok().as_deref().and_then(features))
}

/// The family's number, which stays as long as the kernel runs.
fn family() -> io::Result<Option<u16>> {
    static FAMILY: OnceLock<Option<u16>> = OnceLock::new();
    if let Some(family) = FAMILY.get() {
        return Ok(*family);
    }
    let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
    push(&mut body, CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    let request = message::message(GENL_ID_CTRL, false, &body);
    let family = match message::ask(NETLINK_GENERIC, &request)? {
        Ok(answer) => answer
            .get(HEADER + GENERIC_HEADER..)
            .and_then(|attributes| attribute(attributes, CTRL_ATTR_FAMILY_ID))
            .and_then(|value| value.first_chunk())
            .map(|value| u16::from_ne_bytes(*value)),
        Err(refusal) if refusal.errno == Errno::ENOENT => None,
        Err(refusal) => return Err(refusal.errno.into()),
    };
    Ok(*FAMILY.get_or_init(|| family))
}

fn device_get(family: u16, link: IfIndex) -> Vec<u8> {
    let mut body = vec![NETDEV_CMD_DEV_GET, 1, 0, 0];
    push(&mut body, NETDEV_A_DEV_IFINDEX, &link.to_ne_bytes());
    message::message(family, false, &body)
}

fn features(answer: &[u8]) -> Option<XdpFeatures> {
    let attributes = answer.get(HEADER + GENERIC_HEADER..)?;
    let value = attribute(attributes, NETDEV_A_DEV_XDP_FEATURES)?;
    Some(XdpFeatures(u64::from_ne_bytes(*value.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_asked_for_by_its_index_and_answers_with_bits() {
        let request = device_get(0x1c, 3);
        assert_eq!(request.len(), 28);
        assert_eq!(request[16..20], [1, 1, 0, 0]);
        assert_eq!(attribute(&request[20..], 1), Some([3, 0, 0, 0].as_slice()));

        let mut body = vec![NETDEV_CMD_DEV_GET, 1, 0, 0];
        push(&mut body, NETDEV_A_DEV_IFINDEX, &3_u32.to_ne_bytes());
        push(&mut body, NETDEV_A_DEV_XDP_FEATURES, &35_u64.to_ne_bytes());
        let told = features(&message::message(0x1c, false, &body)).unwrap();
        assert!(told.has(XdpFeatures::BASIC | XdpFeatures::REDIRECT | XdpFeatures::RX_SG));
        assert!(!told.has(XdpFeatures::NDO_XMIT));
        assert_eq!(features(&[0; 20]), None);
    }
}
