//! An interface under test, and what its agent counts for it.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context as _;
use eniway_api::{MacAddress, NodeEniAttachment};
use lab::{Lab, Namespace};

use super::counters::Counters;
use super::records;

/// An interface under test: where it is, and what it is called there.
pub(super) struct Port {
    pub(super) node: Namespace,
    pub(super) eni: String,
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    pub(super) mac: MacAddress,
}

impl Port {
    pub(super) fn of(lab: &Lab, record: &NodeEniAttachment) -> anyhow::Result<Self> {
        let ec2 = records::ec2(record).context("EC2 answered")?;
        let address = ec2
            .addresses
            .first()
            .context("an interface has a primary address")?
            .addr();
        let IpAddr::V4(address) = address else {
            anyhow::bail!("the primary address {address} is not IPv4")
        };
        Ok(Self {
            node: lab.in_node(&record.spec.node_name)?,
            eni: ec2
                .eni_id
                .as_ref()
                .context("the interface has an ID")?
                .to_string(),
            name: records::node(record)
                .and_then(|node| node.interface_name.clone())
                .context("the interface has a name on its node")?,
            address,
            mac: ec2.mac_address.context("the interface has a MAC address")?,
        })
    }

    /// Packets of this interface that the agent counted.
    pub(super) fn packets(&self, labels: &[(&str, &str)]) -> anyhow::Result<u64> {
        let mut all = vec![("eni", self.eni.as_str())];
        all.extend(labels);
        Ok(Counters::read(&self.node)?.packets(&all))
    }
}

/// Every interface of the story.
pub(super) fn ports(lab: &Lab) -> anyhow::Result<Vec<Port>> {
    records::attachments(lab)?
        .iter()
        .map(|record| Port::of(lab, record))
        .collect()
}
