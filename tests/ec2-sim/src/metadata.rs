//! What an instance is told about itself: paths and their values.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::ids::InstanceId;
use crate::model::{Instance, InstanceState, Interface, Slot, private_dns_name};
use crate::world::World;

impl World {
    /// What the metadata service of an instance answers: a value, a list of names, or nothing.
    #[must_use]
    pub fn metadata(&self, instance: &InstanceId, path: &str, now: Timestamp) -> Option<String> {
        let instance = self.instance(instance)?;
        if matches!(
            instance.state,
            InstanceState::Stopped | InstanceState::Terminated
        ) {
            return None;
        }
        let path = path.trim_start_matches('/');
        let leaves = self.leaves(instance, now);
        leaves
            .get(path)
            .cloned()
            .or_else(|| children(&leaves, path))
    }

    /// Every path that has a value.
    fn leaves(&self, instance: &Instance, now: Timestamp) -> BTreeMap<String, String> {
        let mut leaves = BTreeMap::new();
        let mut put = |path: &str, value: String| leaves.insert(format!("latest/{path}"), value);
        put("meta-data/instance-id", instance.id.to_string());
        put("meta-data/instance-type", instance.limits.name.to_owned());
        put("meta-data/ami-id", instance.image.clone());
        put(
            "meta-data/placement/availability-zone",
            instance.zone.clone(),
        );
        put("meta-data/placement/region", self.region().to_owned());
        let primary = instance
            .interfaces
            .get(&Slot::PRIMARY)
            .and_then(|eni| self.interface(eni));
        let address = primary.and_then(|primary| primary.addresses.first());
        if let Some(primary) = primary {
            put("meta-data/mac", primary.mac.clone());
        }
        if let Some(address) = address {
            put("meta-data/local-ipv4", address.to_string());
            put("meta-data/local-hostname", private_dns_name(*address));
            put("meta-data/hostname", private_dns_name(*address));
        }
        let document = serde_json::json!({
            "accountId": self.account(),
            "architecture": "x86_64",
            "availabilityZone": instance.zone,
            "imageId": instance.image,
            "instanceId": instance.id,
            "instanceType": instance.limits.name,
            "pendingTime": instance.launch_time.to_string(),
            "privateIp": address,
            "region": self.region(),
            "version": "2017-09-30",
        });
        put(
            "dynamic/instance-identity/document",
            format!("{document:#}"),
        );
        for (slot, eni) in &instance.interfaces {
            let Some(interface) = self.interface(eni) else {
                continue;
            };
            for (key, value) in self.interface_leaves(instance, *slot, interface, now) {
                put(
                    &format!("meta-data/network/interfaces/macs/{}/{key}", interface.mac),
                    value,
                );
            }
        }
        leaves
    }

    /// What is told of one interface. A list that is empty has no key.
    fn interface_leaves(
        &self,
        instance: &Instance,
        slot: Slot,
        interface: &Interface,
        now: Timestamp,
    ) -> Vec<(&'static str, String)> {
        // The device index arrives late; until then it reads 0.
        let told = interface.attachment.as_ref().is_some_and(|tie| {
            slot == Slot::PRIMARY || (tie.is_complete() && tie.metadata_from <= now)
        });
        let mut leaves = vec![
            ("mac", interface.mac.clone()),
            ("interface-id", interface.id.to_string()),
            (
                "device-number",
                if told { slot.index } else { 0 }.to_string(),
            ),
            ("owner-id", self.account().to_owned()),
            ("subnet-id", interface.subnet.to_string()),
            ("vpc-id", interface.vpc.to_string()),
        ];
        if told && instance.limits.cards.len() > 1 {
            leaves.push(("network-card", slot.card.to_string()));
        }
        let groups = || interface.groups.iter().filter_map(|id| self.groups.get(id));
        let mut list = |key, lines: Vec<String>| {
            if !lines.is_empty() {
                leaves.push((key, lines.join("\n")));
            }
        };
        list(
            "security-group-ids",
            interface.groups.iter().map(ToString::to_string).collect(),
        );
        list(
            "security-groups",
            groups().map(|group| group.name.clone()).collect(),
        );
        list(
            "local-ipv4s",
            interface
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
        );
        list(
            "public-ipv4s",
            interface
                .public
                .values()
                .map(|one| one.public_ip.to_string())
                .collect(),
        );
        list(
            "local-hostname",
            interface
                .addresses
                .first()
                .map(|address| private_dns_name(*address))
                .into_iter()
                .collect(),
        );
        list(
            "ipv6s",
            interface
                .ipv6_addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
        );
        list(
            "ipv4-prefix",
            interface.prefixes.iter().map(ToString::to_string).collect(),
        );
        list(
            "ipv6-prefix",
            interface
                .ipv6_prefixes
                .iter()
                .map(ToString::to_string)
                .collect(),
        );
        if let Some(subnet) = self.subnet(&interface.subnet) {
            list(
                "subnet-ipv4-cidr-block",
                vec![subnet.pool.cidr().to_string()],
            );
            list(
                "subnet-ipv6-cidr-blocks",
                subnet
                    .pool
                    .ipv6_cidr()
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            );
        }
        if let Some(vpc) = self.vpcs.get(&interface.vpc) {
            list("vpc-ipv4-cidr-block", vec![vpc.cidr.to_string()]);
            list("vpc-ipv4-cidr-blocks", vec![vpc.cidr.to_string()]);
            list(
                "vpc-ipv6-cidr-blocks",
                vpc.ipv6_cidr.iter().map(ToString::to_string).collect(),
            );
        }
        leaves
    }
}

/// The names under a path; one that has names of its own ends in a slash.
fn children(leaves: &BTreeMap<String, String>, path: &str) -> Option<String> {
    let prefix = if path.is_empty() || path.ends_with('/') {
        path.to_owned()
    } else {
        format!("{path}/")
    };
    let names: BTreeSet<String> = leaves
        .range(prefix.clone()..)
        .map_while(|(leaf, _)| leaf.strip_prefix(&prefix))
        .map(|rest| {
            rest.split_once('/')
                .map_or_else(|| rest.to_owned(), |(name, _)| format!("{name}/"))
        })
        .collect();
    if names.is_empty() {
        None
    } else {
        Some(names.into_iter().collect::<Vec<_>>().join("\n"))
    }
}
