//! What the VPC knows: subnets, their router, and the addresses of every interface.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::PortId;

/// The router's address in every IPv6 subnet.
pub(super) const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0x0ec2, 0, 0, 0, 0, 0, 1);

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// To everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Broadcast or multicast.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// The link-local address that it gives, RFC 4291 appendix A.
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
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
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no MAC address.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not six pairs of hexadecimal digits with colons")]
pub struct NotAMac(String);

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let parse = |pair| u8::from_str_radix(pair, 16).ok();
        let bytes: Option<Vec<u8>> = text.split(':').map(parse).collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| NotAMac(text.to_owned()))
    }
}

/// A subnet with its router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// Its IPv4 block.
    pub ipv4: Ipv4Net,
    /// Its IPv6 block.
    pub ipv6: Option<Ipv6Net>,
}

impl Subnet {
    /// The router's MAC address in it.
    pub fn router_mac(&self) -> Mac {
        let [a, b, c, d] = self.ipv4.network().octets();
        Mac([0x02, 0xec, a, b, c, d])
    }

    /// The router's IPv4 address in it: the first of the block.
    pub fn router(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.ipv4.network()) + 1)
    }
}

/// An ENI as the VPC knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its id, which is also its port.
    pub port: PortId,
    /// Its MAC address.
    pub mac: Mac,
    /// The id of its subnet.
    pub subnet: String,
    /// Its IPv4 addresses, the primary one first.
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv4 prefixes.
    pub ipv4_prefixes: Vec<Ipv4Net>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// Its IPv6 prefixes.
    pub ipv6_prefixes: Vec<Ipv6Net>,
    /// Whether it may be only the source or the destination of its traffic.
    pub source_dest_check: bool,
}

impl Interface {
    pub(super) fn has4(&self, address: Ipv4Addr) -> bool {
        self.ipv4.contains(&address)
            || self
                .ipv4_prefixes
                .iter()
                .any(|prefix| prefix.contains(&address))
    }

    pub(super) fn has6(&self, address: Ipv6Addr) -> bool {
        self.ipv6.contains(&address)
            || address == self.mac.link_local()
            || self
                .ipv6_prefixes
                .iter()
                .any(|prefix| prefix.contains(&address))
    }
}

/// All subnets and interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Every subnet of the VPC.
    pub subnets: Vec<Subnet>,
    /// Every ENI of the VPC, plugged or not.
    pub interfaces: Vec<Interface>,
}

impl Network {
    pub(super) fn interface(&self, port: &PortId) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.port == *port)
    }

    /// The subnet of an interface; EC2 has none without.
    pub(super) fn subnet_of(&self, interface: &Interface) -> Option<&Subnet> {
        self.subnets
            .iter()
            .find(|subnet| subnet.id == interface.subnet)
    }

    pub(super) fn owner4(&self, address: Ipv4Addr) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.has4(address))
    }

    pub(super) fn owner6(&self, address: Ipv6Addr) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.has6(address))
    }

    /// Who has this MAC address in this subnet.
    pub(super) fn neighbour(&self, subnet: &str, mac: Mac) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.subnet == subnet && interface.mac == mac)
    }
}
