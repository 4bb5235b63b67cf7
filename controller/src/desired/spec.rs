//! A NodeENI's spec, in which everything may be unsaid, to a record's, in which nothing is.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use eniway_api::{
    DeletionPolicy, DeviceIndex, Dpdk, GroupId, Ipv4Wish, NodeEniAttachmentSpec, NodeEniSpec,
    SubnetId,
};
use eniway_ec2::Subnet;

use super::Place;

impl Place<'_> {
    pub(super) fn spec(
        &self,
        subnet: &SubnetId,
        position: u32,
        groups: &[GroupId],
    ) -> NodeEniAttachmentSpec {
        let said = &self.node_eni.spec;
        let deletion_policy = said.deletion_policy.unwrap_or_default();
        NodeEniAttachmentSpec {
            node_name: self.node.name.clone(),
            instance_id: self.instance.id.clone(),
            node_eni: self.reference.clone(),
            subnet_id: subnet.clone(),
            pool: None,
            position,
            device_index: said.device_index.map(|first| index(first, position)),
            network_card_index: said.network_card_index.unwrap_or_default(),
            ena_queue_count: said.ena_queue_count,
            security_group_ids: groups.to_vec(),
            deletion_policy,
            delete_on_termination: said
                .delete_on_termination
                .unwrap_or(deletion_policy == DeletionPolicy::Delete),
            source_dest_check: said.source_dest_check.unwrap_or(true),
            description: said.description.clone().unwrap_or_else(|| {
                // J's text, for those who look for it.
                format!(
                    "ENI created by nodeeni-controller for node {}",
                    self.node.name
                )
            }),
            tags: said
                .tags
                .iter()
                .map(|(key, value)| (key.clone(), value.0.clone()))
                .collect(),
            former_tags: BTreeSet::new(),
            ipv4: None,
            ipv6: None,
            elastic_ip: None,
            adopt: None,
            mtu: said.mtu.filter(|mtu| *mtu != 0),
            interface: said.interface.clone(),
            data_path: said.data_path.clone(),
            dpdk: dpdk(said),
        }
    }
}

impl Place<'_> {
    /// The addresses that are asked for in the subnet.
    pub(super) fn addresses(&self, spec: &mut NodeEniAttachmentSpec, subnet: &Subnet) {
        let said = &self.node_eni.spec;
        spec.ipv4 = said.ipv4.as_ref().map(|ipv4| here(ipv4, subnet));
        spec.ipv6.clone_from(&said.ipv6);
        spec.elastic_ip.clone_from(&said.elastic_ip);
    }
}

/// What is asked for, with those addresses that lie in the subnet.
fn here(said: &Ipv4Wish, subnet: &Subnet) -> Ipv4Wish {
    let mut here = said.clone();
    let lies_here = |address: &Ipv4Addr| lies_in(subnet, *address);
    here.addresses.retain(lies_here);
    here
}

/// Whether the address is one of the subnet's.
pub(super) fn lies_in(subnet: &Subnet, address: Ipv4Addr) -> bool {
    subnet
        .cidrs
        .iter()
        .any(|cidr| cidr.contains(&IpAddr::from(address)))
}

/// The first subnet's index, and one more for each next subnet.
fn index(first: DeviceIndex, position: u32) -> DeviceIndex {
    let wanted = u32::from(first.0).saturating_add(position);
    DeviceIndex(
        u8::try_from(wanted)
            .unwrap_or(u8::MAX)
            .min(DeviceIndex::LAST.0),
    )
}

fn dpdk(said: &NodeEniSpec) -> Option<Dpdk> {
    (said.wants_dpdk() || said.dpdk_resource_name.is_some()).then(|| Dpdk {
        bind: said.wants_dpdk(),
        driver: said.dpdk_driver.clone(),
        resource_name: said.dpdk_resource_name.clone(),
        pci_address: said.dpdk_pci_address.clone(),
        allow_unsafe_no_iommu: said
            .dpdk
            .as_ref()
            .is_some_and(|options| options.allow_unsafe_no_iommu),
    })
}
