//! What an ENI's settings and addresses are in the words of the maps. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use eniway_abi::{Config, Cover4, Cover6, flags, mode};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Error, GuardConfig, Mode};

/// What the maps of one ENI shall hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) local4: BTreeSet<Ipv4Net>,
    pub(super) local6: BTreeSet<Ipv6Net>,
}

/// Translates.
///
/// # Errors
///
/// [`Error::Address`] for an address no host may have: the guard relies on the ENI's addresses being
/// ordinary ones.
pub(super) fn settings(guard: &GuardConfig) -> Result<Settings, Error> {
    let mut local4 = BTreeSet::new();
    let mut local6 = BTreeSet::new();
    let mut primary4 = None;
    for &address in &guard.addresses {
        if !is_host(address) {
            return Err(Error::Address { address });
        }
        match address {
            IpNet::V4(net) => {
                if net.prefix_len() == 32 {
                    primary4 = primary4.or(Some(net.addr()));
                }
                local4.insert(net.trunc());
            }
            IpNet::V6(net) => {
                local6.insert(net.trunc());
            }
        }
    }
    let subnet4 = guard.subnets.iter().find_map(|subnet| match subnet {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    });
    let (cover4, cover4_exact) = cover4(&local4);
    let (cover6, cover6_exact) = cover6(&local6);
    let mut bits = 0;
    if guard.source_dest_check {
        bits |= flags::SOURCE_DEST_CHECK;
    } else {
        // Whom a packet is for is not asked, so neither is which group.
        bits |= flags::MULTICAST;
    }
    if cover4_exact {
        bits |= flags::COVER4_EXACT;
    }
    if cover6_exact {
        bits |= flags::COVER6_EXACT;
    }
    let config = Config {
        mac: guard.mac,
        mode: match guard.mode {
            Mode::Enforce => mode::ENFORCE,
            Mode::Audit => mode::AUDIT,
            Mode::Off => mode::OFF,
        },
        flags: bits,
        primary4: primary4.map_or([0; 4], |address| address.octets()),
        broadcast4: subnet4.map_or([0; 4], |net| net.broadcast().octets()),
        // The second address of a subnet is its router's (VPC user guide, "Subnet CIDR blocks").
        router4: subnet4.map_or([0; 4], |net| {
            Ipv4Addr::from_bits(net.network().to_bits().saturating_add(1)).octets()
        }),
        reserved: [0; 4],
        cover4,
        cover6,
        link_local: link_local(guard.mac).octets(),
    };
    Ok(Settings {
        config,
        local4,
        local6,
    })
}

/// The link-local address that Linux makes from a MAC (RFC 4291, appendix A).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

/// Tells whether no rule of the guard is about the address.
fn is_host(net: IpNet) -> bool {
    match net.network() {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => {
            !(address.is_multicast()
                || address.is_unspecified()
                || address.is_loopback()
                || address.to_ipv4_mapped().is_some())
        }
    }
}

/// The smallest prefix around all, and whether it holds nothing else.
fn cover4(nets: &BTreeSet<Ipv4Net>) -> (Cover4, bool) {
    let Some(&first) = nets.first() else {
        return (Cover4::EMPTY, true);
    };
    let cover = nets.iter().fold(first, |mut cover, net| {
        while !cover.contains(net) {
            cover = cover.supernet().expect("a prefix of length 0 contains all");
        }
        cover
    });
    let bits = Cover4 {
        network: cover.network().octets(),
        mask: cover.netmask().octets(),
    };
    (bits, nets.contains(&cover))
}

/// As [`cover4`].
fn cover6(nets: &BTreeSet<Ipv6Net>) -> (Cover6, bool) {
    let Some(&first) = nets.first() else {
        return (Cover6::EMPTY, true);
    };
    let cover = nets.iter().fold(first, |mut cover, net| {
        while !cover.contains(net) {
            cover = cover.supernet().expect("a prefix of length 0 contains all");
        }
        cover
    });
    let bits = Cover6 {
        network: cover.network().octets(),
        mask: cover.netmask().octets(),
    };
    (bits, nets.contains(&cover))
}
