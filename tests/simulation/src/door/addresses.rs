//! Addresses of interfaces, as requests for the simulated API and answers in our words.

use std::collections::BTreeSet;

use ec2_sim::Request;
use eniway_api::{AddressKind, Asked, EniId};
use eniway_ec2::{Call, Error};
use ipnet::IpNet;

use super::{Door, Place};

impl<P: Place> Door<P> {
    pub(super) async fn assign(&self, eni: &EniId, asked: &Asked) -> Result<Vec<IpNet>, Error> {
        let call = Call::assigning(asked);
        let request = Request::new(&call.to_string()).with("NetworkInterfaceId", eni);
        let named = (1..).zip(&asked.addresses);
        let request = named.fold(request, |request, (number, address)| {
            request.with(&format!("PrivateIpAddress.{number}"), address)
        });
        let response = self.ask(call, counts(request, asked)).await?;
        Ok(entries_in(&response.body))
    }

    pub(super) async fn unassign(
        &self,
        eni: &EniId,
        entries: &BTreeSet<IpNet>,
    ) -> Result<(), Error> {
        let call = Call::unassigning(entries);
        let mut request = Request::new(&call.to_string()).with("NetworkInterfaceId", eni);
        for (number, entry) in (1..).zip(entries) {
            let (name, value) = match AddressKind::of(entry) {
                AddressKind::Ipv4 => ("PrivateIpAddress", entry.addr().to_string()),
                AddressKind::Ipv4Prefix => ("Ipv4Prefix", entry.to_string()),
                AddressKind::Ipv6 => ("Ipv6Addresses", entry.addr().to_string()),
                AddressKind::Ipv6Prefix => ("Ipv6Prefix", entry.to_string()),
            };
            request = request.with(&format!("{name}.{number}"), value);
        }
        self.ask(call, request).await.map(drop)
    }
}

/// What an interface has beside its primary address, as CreateNetworkInterface takes it.
pub(super) fn beside_primary(request: Request, asked: &Asked) -> Request {
    let named = (1..).zip(&asked.addresses);
    let request = named.fold(request, |request, (number, address)| {
        request
            .with(
                &format!("PrivateIpAddresses.{number}.PrivateIpAddress"),
                address,
            )
            .with(&format!("PrivateIpAddresses.{number}.Primary"), false)
    });
    counts(request, asked)
}

fn counts(request: Request, asked: &Asked) -> Request {
    let counts = [
        ("SecondaryPrivateIpAddressCount", asked.secondary),
        ("Ipv4PrefixCount", asked.prefixes),
        ("Ipv6AddressCount", asked.ipv6),
        ("Ipv6PrefixCount", asked.ipv6_prefixes),
    ];
    let said = counts.into_iter().filter(|(_, count)| *count > 0);
    said.fold(request, |request, (name, count)| request.with(name, count))
}

/// Every address and prefix that an answer tells.
fn entries_in(xml: &str) -> Vec<IpNet> {
    let texts = xml.split('<').filter_map(|part| part.split('>').nth(1));
    let entry = |text: &str| {
        let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
        address.ok().or_else(|| text.parse().ok())
    };
    texts.filter_map(entry).collect()
}
