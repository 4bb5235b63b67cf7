//! Why a driver refuses an XDP program, in its own words.
//!
//! A link is refused by an error number alone, and drivers use few of them for much. The older way of
//! attaching, by netlink, also brings the driver's words: so a refused link is asked about once, there.

use super::{
    IngressMode,
    error::{chain, errno},
};
use crate::netlink::message::{self, NETLINK_ROUTE, push};

/// What stands in the way of native XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// The MTU is too large.
    Mtu,
    /// Too few queues are left for XDP.
    Channels,
    /// Something else in the driver or the kernel.
    Driver,
}

/// A driver's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) obstacle: Obstacle,
    pub(super) text: String,
}

// linux/rtnetlink.h and linux/if_link.h.
const RTM_SETLINK: u16 = 19;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 2;
const XDP_FLAGS_DRV_MODE: u32 = 4;
const NLA_F_NESTED: u16 = 0x8000;

/// Error numbers of drivers. aya asks by netlink itself after EINVAL.
const DRIVERS: [i32; 4] = [libc::ERANGE, libc::EOPNOTSUPP, libc::ENOSPC, libc::ENOMEM];

impl Refusal {
    /// Explains why `program`, open as a file, was not attached.
    pub(super) fn explain(
        error: &(dyn std::error::Error + 'static),
        ifindex: u32,
        program: i32,
        mode: IngressMode,
    ) -> Self {
        let chain = chain(error);
        let asked = errno(error).is_some_and(|number| DRIVERS.contains(&number));
        let words = match asked {
            true => words(ifindex, program, flags(mode)),
            false => quoted(&chain),
        };
        match words {
            Some(words) => Self {
                obstacle: Obstacle::of(&words),
                text: words,
            },
            // ERANGE is how drivers call an MTU that is out of it.
            None if errno(error) == Some(libc::ERANGE) => Self {
                obstacle: Obstacle::Mtu,
                text: chain,
            },
            None => Self {
                obstacle: Obstacle::Driver,
                text: chain,
            },
        }
    }
}

impl Obstacle {
    /// Reads a driver's words: ENA's and those of virtio, veth and others are alike in what they name.
    fn of(words: &str) -> Self {
        let words = words.to_ascii_lowercase();
        let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
        if has(&["mtu"]) {
            Self::Mtu
        } else if has(&["queue", "channel", "ring"]) {
            Self::Channels
        } else {
            Self::Driver
        }
    }
}

const fn flags(mode: IngressMode) -> u32 {
    match mode {
        IngressMode::XdpGeneric => XDP_FLAGS_SKB_MODE,
        IngressMode::XdpNative | IngressMode::Tc => XDP_FLAGS_DRV_MODE,
    }
}

/// Asks by netlink. If it should be attached after all, it is taken off again: without a link it would
/// not outlive a change of programs.
fn words(ifindex: u32, program: i32, flags: u32) -> Option<String> {
    let ask = |program| message::ask(NETLINK_ROUTE, &set_program(ifindex, program, flags));
    match ask(program).ok()? {
        Ok(_) => {
            // A failure leaves what `attach` then reports as a program that is there.
            let _taken_off = message::ask(NETLINK_ROUTE, &set_program(ifindex, -1, flags));
            None
        }
        Err(refusal) => refusal.text.filter(|text| !text.is_empty()),
    }
}

/// The request to attach `program`, or to take off what is there (-1).
fn set_program(ifindex: u32, program: i32, flags: u32) -> Vec<u8> {
    let mut xdp = Vec::new();
    push(&mut xdp, IFLA_XDP_FD, &program.to_ne_bytes());
    let only_if_none = match program {
        -1 => 0,
        _ => XDP_FLAGS_UPDATE_IF_NOEXIST,
    };
    push(
        &mut xdp,
        IFLA_XDP_FLAGS,
        &(flags | only_if_none).to_ne_bytes(),
    );
    let mut body = vec![0; 16];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    push(&mut body, IFLA_XDP | NLA_F_NESTED, &xdp);
    message::message(RTM_SETLINK, true, &body)
}

/// The driver's words in aya's error, which lists what netlink said.
fn quoted(chain: &str) -> Option<String> {
    let (_, list) = chain.split_once("netlink error: [\"")?;
    let (words, _) = list.split_once("\"]")?;
    (!words.is_empty()).then(|| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drivers_words_name_what_stands_in_the_way() {
        for (words, obstacle) in [
            (
                "Failed to set xdp program, the current MTU (9001) is larger than the maximum allowed MTU",
                Obstacle::Mtu,
            ),
            (
                "Failed to set xdp program, there is no enough space for allocating XDP queues",
                Obstacle::Channels,
            ),
            ("Peer MTU is too large to set XDP", Obstacle::Mtu),
            ("MTU too large to enable XDP without frags", Obstacle::Mtu),
            ("Too few free TX rings available", Obstacle::Channels),
            (
                "XDP expects number of rx queues not less than peer tx queues",
                Obstacle::Channels,
            ),
            (
                "Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first",
                Obstacle::Driver,
            ),
            (
                "Underlying driver does not support XDP in native mode",
                Obstacle::Driver,
            ),
        ] {
            assert_eq!(Obstacle::of(words), obstacle, "{words}");
        }
    }

    #[test]
    fn ayas_list_gives_the_words_alone() {
        let chain = "netlink error: [\"the current MTU (9001) is larger\"]: Invalid argument";
        let words = quoted(chain).unwrap();
        assert_eq!(words, "the current MTU (9001) is larger");
        assert_eq!(quoted("netlink error: []: Invalid argument"), None);
        assert_eq!(quoted("Invalid argument"), None);
    }
}
