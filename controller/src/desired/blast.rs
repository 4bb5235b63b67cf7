//! Keeps one change from taking away too much at once.
//!
//! A label that many nodes lose together, or a subnet that leaves a list, may be a slip: beyond a
//! share of the nodes nothing is released until a person says how many are meant. A replacement that
//! leaves its node without the interface for a while waits until few enough others are without theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eniway_api::{
    IntOrString, NodeEni, NodeEniAttachment, SubnetPolicy, VpcId, conditions::reason, mark,
};
use eniway_ec2::{Snapshot, Subnet};
use kube::ResourceExt as _;

use super::{Declared, Desired, Node, Problem, Unwanted, resolve, selects};
use crate::status;

/// A slip takes more than one node in five ...
const SHARE: usize = 5;
/// ... and more of them than a person names one by one.
const FEW: usize = 3;

/// How a NodeENI fares on all its nodes. Only nodes that stand count: an instance that ends takes
/// its interface along, and nobody decides that here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Nodes that have a record.
    pub nodes: usize,
    /// Those of them from which the NodeENI now takes an interface without giving another.
    pub losing: usize,
    /// Those of them, but for the one at hand, that lack an interface which they should have.
    pub lacking: usize,
}

/// What is known of the other nodes.
#[derive(Clone, Copy)]
pub struct Others<'a> {
    /// The node at hand. If it lacks an interface already, a replacement there takes none away.
    pub node: &'a str,
    /// Every record, by name.
    pub records: &'a BTreeMap<String, Arc<NodeEniAttachment>>,
    /// Every node, by name.
    pub nodes: &'a BTreeMap<String, Node>,
    /// Records, by node, whose release is decided and does not show yet.
    pub going: &'a BTreeMap<String, BTreeSet<String>>,
    pub snapshot: &'a Snapshot,
    pub vpc: &'a VpcId,
}

impl Others<'_> {
    /// Whether the record's interface is there for the node's pods; a node that says nothing is
    /// believed.
    fn serves(&self, record: &NodeEniAttachment) -> bool {
        let status = record.status.as_ref();
        let silent = status.is_none_or(|status| status.node.is_none());
        let going = self.going.get(&record.spec.node_name);
        let goes = record.metadata.deletion_timestamp.is_some()
            || going.is_some_and(|names| names.contains(&record.name_any()));
        !goes && (status::ready(record) || (silent && status::attached(record)))
    }
}

impl Fleet {
    /// Counts the nodes of a NodeENI by its records.
    #[must_use]
    pub fn of(node_eni: &NodeEni, others: Others<'_>) -> Self {
        let catalog = resolve::Catalog {
            vpc: others.vpc,
            snapshot: others.snapshot,
        };
        let subnets = catalog.subnets(&node_eni.spec);
        // What cannot be decided takes nothing away.
        let listed = subnets.problems.is_empty().then_some(subnets.found);
        let dropped = |record: &NodeEniAttachment| {
            let listed = listed.as_deref();
            listed.is_some_and(|listed| !is_asked_for(node_eni, record, listed, others.snapshot))
        };
        let mut fleet = Self::default();
        for (node, records) in by_node(node_eni, others) {
            fleet.nodes += 1;
            if !selects(node_eni, node) {
                fleet.losing += 1;
                continue;
            }
            fleet.losing += usize::from(records.iter().any(|record| dropped(record)));
            let places = |counts: &dyn Fn(&NodeEniAttachment) -> bool| -> BTreeSet<u32> {
                let counted = records.iter().filter(|record| counts(record));
                counted.map(|record| place(node_eni, record)).collect()
            };
            let asked_for = places(&|record| !dropped(record));
            let served = places(&|record| others.serves(record));
            let lacks = node.name != others.node && !asked_for.is_subset(&served);
            fleet.lacking += usize::from(lacks);
        }
        fleet
    }

    /// Whether so many lose their interface that a person must confirm it.
    const fn is_slip(self) -> bool {
        self.losing > FEW && self.losing * SHARE > self.nodes
    }
}

/// The records of a NodeENI on nodes that stand.
fn by_node<'a>(
    node_eni: &NodeEni,
    others: Others<'a>,
) -> impl Iterator<Item = (&'a Node, Vec<&'a NodeEniAttachment>)> {
    let uid = node_eni.metadata.uid.as_deref();
    let mut nodes: BTreeMap<&str, (&Node, Vec<&NodeEniAttachment>)> = BTreeMap::new();
    for record in others.records.values() {
        let spec = &record.spec;
        if Some(spec.node_eni.uid.as_str()) == uid
            && let Some(node) = others.nodes.get(&spec.node_name)
            && node.instance() == Some(&spec.instance_id)
        {
            let (_, records) = nodes.entry(&spec.node_name).or_insert((node, Vec::new()));
            records.push(record);
        }
    }
    nodes.into_values()
}

/// Whether the NodeENI still asks for an interface where this record's is, be it in another subnet.
fn is_asked_for(
    node_eni: &NodeEni,
    record: &NodeEniAttachment,
    listed: &[(u32, &Subnet)],
    snapshot: &Snapshot,
) -> bool {
    let spec = &record.spec;
    match (&node_eni.spec.pool_ref, &spec.pool) {
        (Some(wanted), Some(has)) if wanted.name == has.name => return true,
        // What comes from a pool is the only one on its node.
        (Some(_), _) | (None, Some(_)) if spec.position == 0 => return true,
        (Some(_), _) => return false,
        (None, _) => {}
    }
    match node_eni.spec.subnet_policy.unwrap_or_default() {
        SubnetPolicy::All => listed
            .iter()
            .any(|(position, subnet)| subnet.id == spec.subnet_id || *position == spec.position),
        SubnetPolicy::MatchZone => {
            let subnet = snapshot.subnets.get(&spec.subnet_id);
            subnet.is_none_or(|old| listed.iter().any(|(_, subnet)| subnet.zone == old.zone))
        }
    }
}

/// Which of a node's interfaces it is, whatever its subnet.
fn place(node_eni: &NodeEni, record: &NodeEniAttachment) -> u32 {
    match node_eni.spec.subnet_policy.unwrap_or_default() {
        SubnetPolicy::All => record.spec.position,
        SubnetPolicy::MatchZone => 0,
    }
}

/// Takes out of `desired.releases` what must wait, and says why. `fleet` counts the nodes of a NodeENI.
pub fn restrain(desired: &mut Desired, declared: &[Declared], fleet: impl Fn(&NodeEni) -> Fleet) {
    let mut fleets: BTreeMap<String, Fleet> = BTreeMap::new();
    let mut problems = Vec::new();
    desired.releases.retain(|release| {
        let owner = declared.iter().find(|one| one.uid() == release.node_eni);
        let Some(Declared::Readable(node_eni)) = owner else {
            return true;
        };
        let mut fleet = || {
            *fleets
                .entry(release.node_eni.clone())
                .or_insert_with(|| fleet(node_eni))
        };
        let held = match release.why {
            Unwanted::NodeEniGone
            | Unwanted::NodeEniDeleted
            | Unwanted::InstanceTerminated
            | Unwanted::MemberGone
            | Unwanted::MemberTaken
            | Unwanted::NeededElsewhere => None,
            Unwanted::LabelLost | Unwanted::SubnetDropped => slip(node_eni, fleet()),
            Unwanted::NoRoomForBoth => crowd(node_eni, fleet()),
        };
        let Some((reason, message)) = held else {
            return true;
        };
        problems.push(Problem {
            node_eni: release.node_eni.clone(),
            reason,
            message,
        });
        false
    });
    desired.waits |= problems.iter().any(|p| p.reason == reason::UPDATE_HELD);
    desired.problems.extend(problems);
}

/// Why so many interfaces are not released yet.
fn slip(node_eni: &NodeEni, fleet: Fleet) -> Option<(&'static str, String)> {
    let confirmed = node_eni
        .annotations()
        .get(mark::ANNOTATION_CONFIRM_RELEASE)
        .and_then(|count| count.parse::<usize>().ok())
        .is_some_and(|count| fleet.losing <= count);
    (fleet.is_slip() && !confirmed).then(|| {
        let message = format!(
            "{losing} of {nodes} nodes would lose their interface, and nothing is released yet. Undo \
             the change, or confirm it: kubectl annotate --overwrite neni {name} {annotation}={losing}",
            losing = fleet.losing,
            nodes = fleet.nodes,
            name = node_eni.name_any(),
            annotation = mark::ANNOTATION_CONFIRM_RELEASE,
        );
        (reason::MASS_RELEASE_HELD, message)
    })
}

/// Why an interface is not replaced yet.
fn crowd(node_eni: &NodeEni, fleet: Fleet) -> Option<(&'static str, String)> {
    let most = max_unavailable(node_eni, fleet.nodes);
    (fleet.lacking >= most).then(|| {
        let message = format!(
            "waits to replace an interface: {} of {} nodes are without theirs already, and \
             updatePolicy.maxUnavailable allows {most} at once",
            fleet.lacking, fleet.nodes
        );
        (reason::UPDATE_HELD, message)
    })
}

/// How many of `nodes` may be without their interface; a share is rounded up.
fn max_unavailable(node_eni: &NodeEni, nodes: usize) -> usize {
    const DEFAULT: usize = 10;
    let policy = node_eni.spec.update_policy.as_ref();
    let most = policy.and_then(|policy| policy.max_unavailable.as_ref());
    let share = |percent: usize| (nodes * percent).div_ceil(100);
    let most = match most {
        None => share(DEFAULT),
        Some(IntOrString::Int(count)) => usize::try_from(*count).unwrap_or_default(),
        Some(IntOrString::String(text)) => {
            let percent = text.strip_suffix('%').and_then(|text| text.parse().ok());
            share(percent.unwrap_or(DEFAULT))
        }
    };
    most.max(1)
}

#[cfg(test)]
mod tests;
