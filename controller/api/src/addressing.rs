//! Addresses and prefixes of an interface, beside its primary address: what a user asks for, and what
//! EC2 is asked for.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// IPv4 addresses and prefixes beside the primary address. EC2 takes one of the three kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.addresses) && size(self.addresses) > 0, has(self.secondaryCount) && self.secondaryCount > 0, has(self.prefixCount) && self.prefixCount > 0].filter(said, said).size() <= 1").message("EC2 takes one of addresses, secondaryCount and prefixCount"))]
pub struct Ipv4Wish {
    /// These addresses, each on one interface: of those that lie in the interface's subnet, the ones
    /// that no other interface has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        with = "Vec<AddressText>",
        extend("maxItems" = 49, "x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = Rule::new("self.all(one, isIP(one) && ip(one).family() == 4)").message("an address is IPv4, such as 10.0.1.20"))]
    pub addresses: Vec<Ipv4Addr>,
    /// So many addresses that EC2 chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 49))]
    pub secondary_count: Option<u32>,
    /// So many prefixes of 16 addresses (/28) that EC2 chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 49))]
    pub prefix_count: Option<u32>,
}

/// IPv6 addresses and prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ipv6Wish {
    /// So many addresses that EC2 chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 50))]
    pub address_count: Option<u32>,
    /// So many prefixes (/80) that EC2 chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 50))]
    pub prefix_count: Option<u32>,
}

/// The text of an address, for the schema.
#[derive(JsonSchema)]
#[schemars(inline)]
struct AddressText(
    #[schemars(length(max = 15))]
    #[expect(dead_code, reason = "a schema")]
    String,
);

/// What EC2 is asked for in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// These IPv4 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<Ipv4Addr>,
    /// So many IPv4 addresses.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub secondary: u32,
    /// So many IPv4 prefixes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub prefixes: u32,
    /// So many IPv6 addresses.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ipv6: u32,
    /// So many IPv6 prefixes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ipv6_prefixes: u32,
}

/// An assignment that was begun, written down before EC2 is called: what is on the interface later
/// and was not before is eniway's, whoever's answer was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assigning {
    /// What is asked for.
    pub asked: Asked,
    /// What was on the interface before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", extend("x-kubernetes-list-type" = "atomic"))]
    pub before: Vec<IpNet>,
}

/// What an entry of an interface is: EC2 counts and takes each kind by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressKind {
    /// An IPv4 address.
    Ipv4,
    /// An IPv4 /28.
    Ipv4Prefix,
    /// An IPv6 address.
    Ipv6,
    /// An IPv6 /80.
    Ipv6Prefix,
}

impl AddressKind {
    /// The kind of an entry.
    #[must_use]
    pub const fn of(entry: &IpNet) -> Self {
        match entry {
            IpNet::V4(net) if net.prefix_len() == 32 => Self::Ipv4,
            IpNet::V4(_) => Self::Ipv4Prefix,
            IpNet::V6(net) if net.prefix_len() == 128 => Self::Ipv6,
            IpNet::V6(_) => Self::Ipv6Prefix,
        }
    }

    /// How many of a subnet's counted addresses one of the kind takes; IPv6 is plenty.
    #[must_use]
    pub const fn subnet_addresses(self) -> u32 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv4Prefix => 16,
            Self::Ipv6 | Self::Ipv6Prefix => 0,
        }
    }
}

impl Asked {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many of a kind EC2 is asked for.
    #[must_use]
    pub fn count(&self, kind: AddressKind) -> u32 {
        match kind {
            AddressKind::Ipv4 => self.named() + self.secondary,
            AddressKind::Ipv4Prefix => self.prefixes,
            AddressKind::Ipv6 => self.ipv6,
            AddressKind::Ipv6Prefix => self.ipv6_prefixes,
        }
    }

    /// Places of the interface that it takes: a prefix takes one, as an address does.
    #[must_use]
    pub fn ipv4_places(&self) -> u32 {
        self.named() + self.secondary + self.prefixes
    }

    /// The same for IPv6.
    #[must_use]
    pub const fn ipv6_places(&self) -> u32 {
        self.ipv6 + self.ipv6_prefixes
    }

    /// IPv4 addresses of the subnet that it takes: a prefix takes sixteen.
    #[must_use]
    pub fn subnet_addresses(&self) -> u32 {
        self.named() + self.secondary + 16 * self.prefixes
    }

    fn named(&self) -> u32 {
        u32::try_from(self.addresses.len()).unwrap_or(u32::MAX)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}
