//! Finds the subnets and security groups that a NodeENI names, inside the cluster's network.

use std::collections::{BTreeMap, BTreeSet};

use eniway_api::{GroupId, NodeEniSpec, TagSelector, VpcId, conditions::reason, mark};
use eniway_ec2::{Group, Snapshot, Subnet};

/// A reason, a message, and whether a newer catalog could help.
pub(crate) type Trouble = (&'static str, String, bool);

pub(crate) struct Catalog<'a> {
    pub(crate) vpc: &'a VpcId,
    pub(crate) snapshot: &'a Snapshot,
}

pub(crate) struct Found<T> {
    pub(crate) found: Vec<T>,
    pub(crate) problems: Vec<Trouble>,
}

impl<'a> Catalog<'a> {
    /// The subnets in the order of the five fields, each once, with their place in the list.
    pub(super) fn subnets(&self, spec: &NodeEniSpec) -> Found<(u32, &'a Subnet)> {
        let mut found: Vec<(u32, &Subnet)> = Vec::new();
        let mut problems = Vec::new();
        let by_id = spec.subnet_id.iter().chain(&spec.subnet_ids).map(|id| {
            self.snapshot.subnets.get(id).ok_or_else(|| {
                let vpc = self.vpc;
                let message = format!("{vpc} has no subnet {id}: correct subnetID");
                (reason::SUBNET_NOT_FOUND, message, true)
            })
        });
        let by_name = spec
            .subnet_name
            .iter()
            .chain(&spec.subnet_names)
            .filter(|name| !name.is_empty())
            .map(|name| self.subnet_by_name(name));
        let by_tags = spec
            .subnet_selector
            .iter()
            .flat_map(|s| self.subnets_by_tags(s));
        for (position, subnet) in (0..).zip(by_id.chain(by_name).chain(by_tags)) {
            match subnet {
                Ok(subnet) if found.iter().any(|(_, known)| known.id == subnet.id) => {}
                Ok(subnet) => found.push((position, subnet)),
                Err(problem) => problems.push(problem),
            }
        }
        Found { found, problems }
    }

    /// Every one that matches, by ID.
    fn subnets_by_tags(&self, selector: &TagSelector) -> Vec<Result<&'a Subnet, Trouble>> {
        let vpc = self.vpc;
        let all = self.snapshot.subnets.values();
        let mut found: Vec<_> = all
            .filter(|one| selector.matches(|key| one.tags.get(key).map(String::as_str)))
            .map(Ok)
            .collect();
        if found.is_empty() {
            let message = format!("{vpc} has no subnet with the tags {selector} of subnetSelector");
            found.push(Err((reason::SUBNET_NOT_FOUND, message, true)));
        }
        found
    }

    fn subnet_by_name(&self, name: &str) -> Result<&'a Subnet, Trouble> {
        let vpc = self.vpc;
        let mut named = self
            .snapshot
            .subnets
            .values()
            .filter(|subnet| is_named(&subnet.tags, name));
        match (named.next(), named.next()) {
            (None, _) => Err((
                reason::SUBNET_NOT_FOUND,
                format!("{vpc} has no subnet with the tag Name={name}"),
                true,
            )),
            (Some(subnet), None) => Ok(subnet),
            (Some(one), Some(other)) => Err((
                reason::SUBNET_AMBIGUOUS,
                format!(
                    "{} and {} both have the tag Name={name}: use subnetID",
                    one.id, other.id
                ),
                true,
            )),
        }
    }

    /// The security groups, sorted, each once.
    pub(super) fn groups(&self, spec: &NodeEniSpec) -> Found<GroupId> {
        let mut found = BTreeSet::new();
        let mut problems = Vec::new();
        for id in &spec.security_group_ids {
            if self.snapshot.groups.iter().any(|group| group.id == *id) {
                found.insert(id.clone());
            } else {
                let vpc = self.vpc;
                let message = format!("{vpc} has no security group {id}: correct securityGroupIDs");
                problems.push((reason::SECURITY_GROUP_NOT_FOUND, message, true));
            }
        }
        for name in &spec.security_group_names {
            match self.group_by_name(name) {
                Ok(group) => {
                    found.insert(group.id.clone());
                }
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(selector) = &spec.security_group_selector {
            let all = self.snapshot.groups.iter();
            let mut matching = all
                .filter(|one| selector.matches(|key| one.tags.get(key).map(String::as_str)))
                .peekable();
            if matching.peek().is_none() {
                let vpc = self.vpc;
                let message = format!(
                    "{vpc} has no security group with the tags {selector} of securityGroupSelector"
                );
                problems.push((reason::SECURITY_GROUP_NOT_FOUND, message, true));
            }
            found.extend(matching.map(|group| group.id.clone()));
        }
        // A group that is missing is not left out: the interface would be open, or closed, by chance.
        let found = if problems.is_empty() {
            found.into_iter().collect()
        } else {
            Vec::new()
        };
        Found { found, problems }
    }

    /// By name, which is unique in a network; else by tag, which need not be.
    fn group_by_name(&self, name: &str) -> Result<&'a Group, Trouble> {
        let vpc = self.vpc;
        let groups = &self.snapshot.groups;
        if let Some(group) = groups.iter().find(|group| group.name == name) {
            return Ok(group);
        }
        let mut tagged = groups.iter().filter(|group| is_named(&group.tags, name));
        match (tagged.next(), tagged.next()) {
            (None, _) => Err((
                reason::SECURITY_GROUP_NOT_FOUND,
                format!("{vpc} has no security group named {name}"),
                true,
            )),
            (Some(group), None) => Ok(group),
            (Some(one), Some(other)) => Err((
                reason::SECURITY_GROUP_AMBIGUOUS,
                format!(
                    "{} and {} both have the tag Name={name}: use securityGroupIDs",
                    one.id, other.id
                ),
                true,
            )),
        }
    }
}

/// Whether the tag `Name` says so.
fn is_named(tags: &BTreeMap<String, String>, name: &str) -> bool {
    tags.get(mark::peer::TAG_NAME)
        .is_some_and(|value| value == name)
}

#[cfg(test)]
mod tests;
