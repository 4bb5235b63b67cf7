//! Decides in which subnets a NodeENI wishes for an interface on one node.

use std::{cmp::Reverse, net::Ipv4Addr};

use eniway_api::{
    NodeEni, NodeEniAttachmentSpec, NodeEniRef, SubnetPolicy, attachment::record_name,
    conditions::reason,
};
use eniway_ec2::{Instance, Subnet};

use super::{Desired, Inputs, Node, Problem, Wish, resolve, spec::lies_in};

/// Where interfaces are wished for.
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) instance: &'a Instance,
    pub(super) node_eni: &'a NodeEni,
    pub(super) reference: NodeEniRef,
}

impl Place<'_> {
    /// Adds what the NodeENI asks for on the node, and what keeps it from that.
    pub(super) fn wishes(&self, desired: &mut Desired, inputs: Inputs<'_>) {
        if let Some(pool) = &self.node_eni.spec.pool_ref {
            return self.member_wish(desired, inputs, pool);
        }
        let catalog = resolve::Catalog {
            vpc: inputs.vpc,
            snapshot: inputs.snapshot,
        };
        let (subnets, groups) = (
            catalog.subnets(&self.node_eni.spec),
            catalog.groups(&self.node_eni.spec),
        );
        let mut problems = subnets.problems;
        problems.extend(groups.problems);
        desired.unresolved |= problems.iter().any(|(_, _, stale)| *stale);
        // A list that is known in part gives no wish for MatchZone: the choice could be another.
        let complete = problems.is_empty();
        let stray = self.stray(&subnets.found).filter(|_| complete);
        let policy = self.node_eni.spec.subnet_policy.unwrap_or_default();
        if groups.found.is_empty() || (policy == SubnetPolicy::MatchZone && !complete) {
            return self.report(desired, problems);
        }
        let chosen: Vec<(u32, &Subnet)> = match policy {
            SubnetPolicy::All => subnets.found,
            SubnetPolicy::MatchZone => {
                let chosen = self.match_zone(inputs, &subnets.found);
                if chosen.is_none() {
                    problems.push((
                        reason::NO_SUBNET_IN_ZONE,
                        format!(
                            "no subnet of the list is in zone {} of node {}",
                            self.instance.zone, self.node.name
                        ),
                        false,
                    ));
                }
                chosen.into_iter().collect()
            }
        };
        let several = chosen.len() > 1;
        for (position, subnet) in chosen {
            let record = record_name(&self.reference, &self.instance.id, &subnet.id);
            if subnet.zone != self.instance.zone {
                problems.push((
                    reason::SUBNET_IN_OTHER_ZONE,
                    format!(
                        "{} is in zone {}, node {} in {}; subnetPolicy: MatchZone takes the one \
                         of the node's zone",
                        subnet.id, subnet.zone, self.node.name, self.instance.zone
                    ),
                    false,
                ));
                continue;
            }
            let mut spec = self.spec(&subnet.id, position, &groups.found);
            self.addresses(&mut spec, subnet);
            if several {
                tell_apart(&mut spec, position);
            }
            spec.adopt = self.adopts(inputs, &record, &subnet.id);
            desired.wishes.push(Wish { record, spec });
        }
        problems.extend(stray);
        self.report(desired, problems);
    }

    /// An address that is asked for and lies in none of the subnets.
    fn stray(&self, subnets: &[(u32, &Subnet)]) -> Option<resolve::Trouble> {
        let ipv4 = self.node_eni.spec.ipv4.as_ref()?;
        let astray = |address: &&Ipv4Addr| {
            let mut subnets = subnets.iter();
            !subnets.any(|(_, subnet)| lies_in(subnet, **address))
        };
        let address = ipv4.addresses.iter().find(astray)?;
        let message = format!("{address} of ipv4.addresses lies in none of the subnets");
        Some((reason::ADDRESS_OUTSIDE_SUBNETS, message, false))
    }

    /// The subnet of the node's zone with the most free addresses; a live record's stays, and that of
    /// an interface which J made.
    fn match_zone<'s>(
        &self,
        inputs: Inputs<'_>,
        subnets: &[(u32, &'s Subnet)],
    ) -> Option<(u32, &'s Subnet)> {
        let here = || {
            subnets
                .iter()
                .copied()
                .filter(|(_, subnet)| subnet.zone == self.instance.zone)
        };
        let recorded = here().find(|(_, subnet)| {
            inputs.records.iter().any(|record| {
                record.metadata.deletion_timestamp.is_none()
                    && record.spec.node_eni.uid == self.reference.uid
                    && record.spec.instance_id == self.instance.id
                    && record.spec.subnet_id == subnet.id
            })
        });
        let free = |subnet: &Subnet| {
            let promised = inputs.promised.get(&subnet.id).copied().unwrap_or(0);
            subnet.free_addresses.saturating_sub(promised)
        };
        let theirs = || here().find(|(_, subnet)| self.listed_in(inputs, &subnet.id).is_some());
        // Of equals the first in the list: `max_by_key` would take the last.
        recorded
            .or_else(theirs)
            .or_else(|| here().min_by_key(|(position, subnet)| (Reverse(free(subnet)), *position)))
    }

    fn report(&self, desired: &mut Desired, problems: Vec<resolve::Trouble>) {
        for (reason, message, _) in problems {
            desired.problems.push(Problem {
                node_eni: self.reference.uid.clone(),
                reason,
                message,
            });
        }
    }
}

/// A node's interfaces have a name each.
fn tell_apart(spec: &mut NodeEniAttachmentSpec, position: u32) {
    let name = spec.interface.as_mut().and_then(|one| one.name.as_mut());
    if let Some(name) = name {
        *name = format!("{name}-{position}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_interfaces_of_a_node_have_a_name_each() {
        let mut spec = NodeEniAttachmentSpec::default();
        tell_apart(&mut spec, 1);
        assert_eq!(spec.interface, None);
        spec.interface = Some(eniway_api::InterfaceWish {
            name: Some("fast".to_owned()),
            ..Default::default()
        });
        tell_apart(&mut spec, 1);
        assert_eq!(spec.interface.unwrap().name.unwrap(), "fast-1");
    }
}
