//! Says which pods use an interface or an address of it.
//!
//! Pure: pods go in, names come out. Multus writes what it gave a pod into the annotation
//! `k8s.v1.cni.cncf.io/network-status` (Network Plumbing Working Group, Multi-Net Spec v1.3 §4.1).

use std::{collections::BTreeSet, net::IpAddr};

use eniway_api::MacAddress;
use eniway_ec2::Eni;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::ResourceExt as _;
use serde::Deserialize;

/// The annotation in which a pod's networks are told.
const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// What a pod has of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    /// Its addresses, as Kubernetes knows them.
    pub addresses: BTreeSet<IpAddr>,
    /// The networks that it was given beside.
    pub networks: Vec<Network>,
}

/// A pod's part of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    pub mac: Option<MacAddress>,
    pub addresses: Vec<IpAddr>,
}

/// An entry of the annotation, as far as it matters here.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    mac: Option<String>,
    #[serde(default)]
    ips: Option<Vec<String>>,
}

impl Pod {
    /// Its namespace and name, as people write them.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What matters of a pod; `None` if it has ended, for then it uses nothing.
    #[must_use]
    pub fn read(pod: &KubePod) -> Option<Self> {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let told = status.and_then(|status| status.pod_ips.as_deref());
        let addresses = told.unwrap_or_default().iter();
        let networks = pod.annotations().get(NETWORK_STATUS);
        Some(Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            addresses: addresses.filter_map(|one| one.ip.parse().ok()).collect(),
            networks: networks.map(|text| networks_of(text)).unwrap_or_default(),
        })
    }

    fn has(&self, entry: &IpNet) -> bool {
        let mut given = self.networks.iter().flat_map(|one| &one.addresses);
        given.any(|address| entry.contains(address))
    }
}

/// What cannot be read holds nothing: the annotation is the pod's own.
fn networks_of(text: &str) -> Vec<Network> {
    let entries: Vec<Entry> = serde_json::from_str(text).unwrap_or_default();
    let network = |entry: Entry| Network {
        mac: entry.mac.and_then(|mac| mac.parse().ok()),
        addresses: entry
            .ips
            .unwrap_or_default()
            .iter()
            // Some plugins write the length of the prefix as well.
            .filter_map(|ip| ip.split('/').next()?.parse().ok())
            .collect(),
    };
    entries.into_iter().map(network).collect()
}

/// The pods that use the interface: its device, or one of its addresses on a device of their own.
#[must_use]
pub fn of_interface<'a>(pods: &'a [Pod], eni: &Eni) -> Vec<&'a Pod> {
    let uses = |pod: &&Pod| {
        let mut macs = pod.networks.iter().filter_map(|network| network.mac);
        macs.any(|mac| mac == eni.mac)
            || eni
                .addresses
                .iter()
                .chain(&eni.prefixes)
                .any(|entry| pod.has(entry))
    };
    pods.iter().filter(uses).collect()
}

/// A pod that uses the address, or one of the prefix.
#[must_use]
pub fn of_address<'a>(pods: &'a [Pod], entry: &IpNet) -> Option<&'a Pod> {
    let own = |pod: &Pod| pod.addresses.iter().any(|address| entry.contains(address));
    pods.iter().find(|pod| pod.has(entry) || own(pod))
}

#[cfg(test)]
mod tests;
