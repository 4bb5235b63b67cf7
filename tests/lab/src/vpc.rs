//! The lab's VPC: its subnets, and which address and MAC each node has in them.

use std::net::Ipv4Addr;

use crate::config::{NodeConfig, REGION};
use crate::error::Error;

/// All subnets lie in it.
pub const VPC_CIDR: &str = "10.200.0.0/16";
/// All IPv6 subnets lie in it.
pub const VPC_CIDR6: &str = "fd00:ec2::/56";

/// A subnet of the lab's VPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its `Name` tag.
    pub name: &'static str,
    /// Its id.
    pub id: &'static str,
    /// The letter of its zone.
    pub zone: char,
    /// The third number of its /24.
    pub third: u8,
}

/// Where the nodes' primary interfaces are; a kernel bridge connects these.
pub const NODE_SUBNETS: [Subnet; 2] = [
    Subnet {
        name: "nodes-a",
        id: "subnet-00000000000000001",
        zone: 'a',
        third: 1,
    },
    Subnet {
        name: "nodes-b",
        id: "subnet-00000000000000002",
        zone: 'b',
        third: 2,
    },
];

/// Where further interfaces are wanted; the fabric connects these.
pub const MULTUS_SUBNETS: [Subnet; 2] = [
    Subnet {
        name: "multus-a",
        id: "subnet-00000000000000101",
        zone: 'a',
        third: 101,
    },
    Subnet {
        name: "multus-b",
        id: "subnet-00000000000000102",
        zone: 'b',
        third: 102,
    },
];

/// Where [`crate::Lab::host`] puts hosts that are no nodes.
pub const HOST_SUBNETS: [Subnet; 2] = [
    Subnet {
        name: "hosts-a",
        id: "subnet-00000000000000201",
        zone: 'a',
        third: 201,
    },
    Subnet {
        name: "hosts-b",
        id: "subnet-00000000000000202",
        zone: 'b',
        third: 202,
    },
];

impl Subnet {
    /// The subnet of the fabric with this name.
    ///
    /// # Errors
    ///
    /// There is none; the error names those there are.
    pub fn find(name: &str) -> Result<&'static Self, Error> {
        let all = || MULTUS_SUBNETS.iter().chain(&HOST_SUBNETS);
        all()
            .find(|subnet| subnet.name == name)
            .ok_or_else(|| Error::NoSubnet {
                name: name.to_owned(),
                known: all()
                    .map(|subnet| subnet.name)
                    .collect::<Vec<_>>()
                    .join(" "),
            })
    }

    /// Such as `10.200.101.0/24`.
    pub fn cidr(&self) -> String {
        format!("{}/24", self.address(0))
    }

    /// Such as `fd00:ec2:0:65::/64`.
    pub fn ipv6_cidr(&self) -> String {
        format!("fd00:ec2:0:{:x}::/64", self.third)
    }

    /// The VPC router's address in it.
    pub fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// Such as `us-west-2a`.
    pub fn zone_name(&self) -> String {
        format!("{REGION}{}", self.zone)
    }

    /// Its address with this last number.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 200, self.third, last)
    }
}

impl NodeConfig {
    /// The subnet of its primary interface.
    pub fn subnet(&self) -> &'static Subnet {
        let [first, second] = &NODE_SUBNETS;
        if self.zone.ends_with(second.zone) {
            second
        } else {
            first
        }
    }

    /// The address of its primary interface.
    pub fn address(&self) -> Ipv4Addr {
        self.subnet().address(10 + self.number)
    }

    /// The MAC address of its primary interface.
    pub fn mac(&self) -> String {
        let [a, b, c, d] = self.address().octets();
        format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// The addresses of the pods that run on it.
    pub fn pod_cidr(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }
}
