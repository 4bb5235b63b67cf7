//! Addresses and prefixes of an interface: at its creation, given and taken.

use std::{collections::BTreeSet, net::Ipv4Addr};

use aws_sdk_ec2::{
    operation::create_network_interface::builders::CreateNetworkInterfaceFluentBuilder,
    types::PrivateIpAddressSpecification,
};
use eniway_api::{AddressKind, Asked, EniId};
use ipnet::IpNet;

use super::{Aws, failed, parse};
use crate::{Call, Error};

impl Aws {
    /// A request for an interface with these beside its primary address, which EC2 chooses.
    pub(super) fn beside_primary(&self, asked: &Asked) -> CreateNetworkInterfaceFluentBuilder {
        let named = asked.addresses.iter().map(|address| {
            PrivateIpAddressSpecification::builder()
                .private_ip_address(address.to_string())
                .primary(false)
                .build()
        });
        self.client
            .create_network_interface()
            .set_private_ip_addresses(some(named.collect()))
            .set_secondary_private_ip_address_count(count(asked.secondary))
            .set_ipv4_prefix_count(count(asked.prefixes))
            .set_ipv6_address_count(count(asked.ipv6))
            .set_ipv6_prefix_count(count(asked.ipv6_prefixes))
    }

    pub(super) async fn assign(&self, eni: &EniId, asked: &Asked) -> Result<Vec<IpNet>, Error> {
        let call = Call::assigning(asked);
        if call == Call::AssignIpv6Addresses {
            let request = self
                .client
                .assign_ipv6_addresses()
                .network_interface_id(eni.as_str())
                .set_ipv6_address_count(count(asked.ipv6))
                .set_ipv6_prefix_count(count(asked.ipv6_prefixes));
            let answer = request.send().await.map_err(|error| failed(call, error))?;
            let addresses = answer.assigned_ipv6_addresses().iter();
            let prefixes = answer.assigned_ipv6_prefixes().iter();
            return Ok(parse::nets(addresses.chain(prefixes).map(String::as_str)));
        }
        let named = asked.addresses.iter().map(Ipv4Addr::to_string);
        let request = self
            .client
            .assign_private_ip_addresses()
            .network_interface_id(eni.as_str())
            .allow_reassignment(false)
            .set_private_ip_addresses(some(named.collect()))
            .set_secondary_private_ip_address_count(count(asked.secondary))
            .set_ipv4_prefix_count(count(asked.prefixes));
        let answer = request.send().await.map_err(|error| failed(call, error))?;
        let addresses = answer.assigned_private_ip_addresses().iter();
        let addresses = addresses.filter_map(|one| one.private_ip_address());
        let prefixes = answer.assigned_ipv4_prefixes().iter();
        let prefixes = prefixes.filter_map(|one| one.ipv4_prefix());
        Ok(parse::nets(addresses.chain(prefixes)))
    }

    pub(super) async fn unassign(
        &self,
        eni: &EniId,
        entries: &BTreeSet<IpNet>,
    ) -> Result<(), Error> {
        let call = Call::unassigning(entries);
        let (mut addresses, mut prefixes) = (Vec::new(), Vec::new());
        for entry in entries {
            match AddressKind::of(entry) {
                AddressKind::Ipv4 | AddressKind::Ipv6 => addresses.push(entry.addr().to_string()),
                AddressKind::Ipv4Prefix | AddressKind::Ipv6Prefix => {
                    prefixes.push(entry.to_string());
                }
            }
        }
        if call == Call::UnassignIpv6Addresses {
            let request = self
                .client
                .unassign_ipv6_addresses()
                .network_interface_id(eni.as_str())
                .set_ipv6_addresses(some(addresses))
                .set_ipv6_prefixes(some(prefixes));
            let answer = request.send().await;
            return answer.map(drop).map_err(|error| failed(call, error));
        }
        let request = self
            .client
            .unassign_private_ip_addresses()
            .network_interface_id(eni.as_str())
            .set_private_ip_addresses(some(addresses))
            .set_ipv4_prefixes(some(prefixes));
        let answer = request.send().await;
        answer.map(drop).map_err(|error| failed(call, error))
    }
}

/// A parameter is left out, rather than empty.
fn some<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

fn count(count: u32) -> Option<i32> {
    i32::try_from(count).ok().filter(|count| *count > 0)
}
