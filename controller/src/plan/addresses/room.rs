//! Whether the instance's type and the subnet have room for more addresses.

use std::collections::BTreeSet;

use eniway_api::{Asked, NodeEniAttachment, conditions::reason};
use eniway_ec2::{Eni, InstanceType};
use ipnet::IpNet;

use crate::{
    action::{Action, Look},
    plan::{Note, Planner, progressing},
};

impl<'a> Planner<'a> {
    /// Whether a new interface may be asked to have these.
    pub(in crate::plan) fn room_at_creation(
        &mut self,
        record: &NodeEniAttachment,
        asked: &Asked,
    ) -> Result<(), Option<Note>> {
        if !asked.is_empty() {
            let limits = self.limits(record)?;
            fits(record, limits, [1, 0], asked)?;
        }
        self.subnet_has(record, 1 + asked.subnet_addresses())
    }

    /// Whether the interface may be asked to have these as well. `off` is on its way.
    pub(super) fn room(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        asked: &Asked,
        off: &BTreeSet<IpNet>,
    ) -> Result<(), Option<Note>> {
        let limits = self.limits(record)?;
        let count = |entries: &mut dyn Iterator<Item = &IpNet>| {
            let (mut ipv4, mut ipv6) = (0, 0);
            for entry in entries {
                match entry {
                    IpNet::V4(_) => ipv4 += 1,
                    IpNet::V6(_) => ipv6 += 1,
                }
            }
            [ipv4, ipv6]
        };
        let [ipv4, ipv6] = count(&mut eni.addresses.iter().chain(&eni.prefixes));
        let [less4, less6] = count(&mut off.iter());
        if fits(record, limits, [ipv4, ipv6], asked).is_err() {
            fits(record, limits, [ipv4 - less4, ipv6 - less6], asked)?;
            return Err(progressing("waiting until other addresses are taken off"));
        }
        self.subnet_has(record, asked.subnet_addresses())
    }

    fn subnet_has(
        &mut self,
        record: &NodeEniAttachment,
        addresses: u32,
    ) -> Result<(), Option<Note>> {
        let Some(subnet) = self.observed.snapshot.subnets.get(&record.spec.subnet_id) else {
            return Ok(());
        };
        let free = subnet.free_addresses;
        if free >= addresses {
            return Ok(());
        }
        self.look_at_catalog();
        let message = match free {
            0 => format!("{} has no free address", subnet.id),
            _ => format!("{} has {free} free addresses, not {addresses}", subnet.id),
        };
        Err(Some(Note {
            reason: reason::SUBNET_FULL,
            message,
        }))
    }

    /// What the record's instance holds, once it is known.
    fn limits(&mut self, record: &NodeEniAttachment) -> Result<&'a InstanceType, Option<Note>> {
        let id = &record.spec.instance_id;
        let Some(instance) = self.observed.snapshot.instance(id) else {
            self.look_at_instance(id);
            return Err(progressing("asking EC2 about the instance"));
        };
        let name = &instance.instance_type;
        let snapshot = self.observed.snapshot;
        if !snapshot.types.contains_key(name) {
            self.push(Action::Look(Look::InstanceType(name.clone())));
        }
        let Some(limits) = snapshot.limits(name) else {
            let text = format!("asking EC2 how many addresses an interface of a {name} holds");
            return Err(progressing(text));
        };
        Ok(limits)
    }
}

/// Whether an interface that has so many of each family holds these as well.
fn fits(
    record: &NodeEniAttachment,
    limits: &InstanceType,
    [ipv4, ipv6]: [u32; 2],
    asked: &Asked,
) -> Result<(), Option<Note>> {
    let families = [
        ("IPv4", ipv4, asked.ipv4_places(), limits.ipv4_addresses),
        ("IPv6", ipv6, asked.ipv6_places(), limits.ipv6_addresses),
    ];
    for (family, there, more, most) in families {
        if more > 0 && there + more > u32::from(most) {
            return Err(Some(Note {
                reason: reason::ADDRESS_LIMIT_REACHED,
                message: format!(
                    "{} is a {}, whose interfaces hold {most} {family} addresses and prefixes, the \
                     primary address included: {there} and {more} more are too many; ask for \
                     fewer or use a larger type",
                    record.spec.instance_id, limits.name
                ),
            }));
        }
    }
    Ok(())
}
