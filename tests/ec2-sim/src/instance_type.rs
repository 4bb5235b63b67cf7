//! How many interfaces and addresses an instance type carries.

use serde::Serialize;

/// The limits of one type, as DescribeInstanceTypes tells them under `networkInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceType {
    pub name: &'static str,
    pub vcpus: u32,
    pub memory_mib: u32,
    /// Sum over all cards.
    pub max_interfaces: u32,
    /// Interfaces of each network card; the length is the number of cards.
    pub cards: &'static [u32],
    /// Addresses and /28 prefixes together, of one interface.
    pub ipv4_per_interface: u32,
    pub ipv6_per_interface: u32,
    pub efa: bool,
    /// ENA queues, where their number can be chosen.
    pub queues: Option<Queues>,
}

/// ENA queues of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Queues {
    pub default: u32,
    /// Of one interface.
    pub most: u32,
    /// Of all of an instance's interfaces together.
    pub of_instance: u32,
}

const fn one_card(
    name: &'static str,
    vcpus: u32,
    memory_mib: u32,
    cards: &'static [u32],
    addresses: u32,
) -> InstanceType {
    InstanceType {
        name,
        vcpus,
        memory_mib,
        max_interfaces: cards[0],
        cards,
        ipv4_per_interface: addresses,
        ipv6_per_interface: addresses,
        efa: false,
        queues: None,
    }
}

const fn with_queues(
    limits: InstanceType,
    default: u32,
    most: u32,
    of_instance: u32,
) -> InstanceType {
    InstanceType {
        queues: Some(Queues {
            default,
            most,
            of_instance,
        }),
        ..limits
    }
}

const fn with_efa(limits: InstanceType) -> InstanceType {
    InstanceType {
        efa: true,
        ..limits
    }
}

/// Numbers of DescribeInstanceTypes, us-east-1.
const TYPES: &[InstanceType] = &[
    one_card("c5.large", 2, 4096, &[3], 10),
    one_card("c5.xlarge", 4, 8192, &[4], 15),
    one_card("c5.4xlarge", 16, 32768, &[8], 30),
    with_efa(one_card("c5n.18xlarge", 72, 196_608, &[15], 50)),
    one_card("c6i.large", 2, 4096, &[3], 10),
    one_card("c6in.xlarge", 4, 8192, &[4], 15),
    one_card("c7i.large", 2, 4096, &[3], 10),
    one_card("c7i.metal-24xl", 96, 196_608, &[15], 50),
    one_card("m5.large", 2, 8192, &[3], 10),
    one_card("m5.xlarge", 4, 16384, &[4], 15),
    one_card("m5.2xlarge", 8, 32768, &[4], 15),
    one_card("m5.4xlarge", 16, 65536, &[8], 30),
    one_card("m5.24xlarge", 96, 393_216, &[15], 50),
    with_efa(one_card("m5n.24xlarge", 96, 393_216, &[15], 50)),
    // docs.aws.amazon.com/AWSEC2/latest/UserGuide/ena-queues.html
    with_queues(one_card("m6i.large", 2, 8192, &[3], 10), 2, 2, 6),
    with_queues(one_card("m6i.4xlarge", 16, 65536, &[8], 30), 8, 16, 64),
    one_card("m7g.large", 2, 8192, &[3], 10),
    one_card("m7g.xlarge", 4, 16384, &[4], 15),
    InstanceType {
        name: "p4d.24xlarge",
        vcpus: 96,
        memory_mib: 1_179_648,
        max_interfaces: 60,
        cards: &[15; 4],
        ipv4_per_interface: 50,
        ipv6_per_interface: 50,
        efa: true,
        queues: None,
    },
    InstanceType {
        name: "p5.48xlarge",
        vcpus: 192,
        memory_mib: 2_097_152,
        max_interfaces: 64,
        cards: &[2; 32],
        ipv4_per_interface: 50,
        ipv6_per_interface: 50,
        efa: true,
        queues: None,
    },
    one_card("r5.large", 2, 16384, &[3], 10),
    one_card("t3.nano", 2, 512, &[2], 2),
    one_card("t3.micro", 2, 1024, &[2], 2),
    one_card("t3.small", 2, 2048, &[3], 4),
    one_card("t3.medium", 2, 4096, &[3], 6),
    one_card("t3.large", 2, 8192, &[3], 12),
    one_card("t3.xlarge", 4, 16384, &[4], 15),
];

impl InstanceType {
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|limits| limits.name == name)
    }

    #[must_use]
    pub fn all() -> &'static [Self] {
        TYPES
    }
}
