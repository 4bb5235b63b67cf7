//! The status of a NodeENI: counts, conditions, and the list that users of J know.

use std::{collections::BTreeMap, sync::Arc};

use eniway_api::{
    AttachmentSummary, Ec2State, NodeEni, NodeEniAttachment, NodeEniStatus,
    conditions::{READY, UNCLAIMED, reason},
    mark,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    condition,
    dpdk::{dpdk, listed},
    max_pods::max_pods,
};
use crate::desired::{MaxPods, Problem, Unclaimed};

/// How many attachments the list holds; etcd takes about 5,000 and every change rewrites all.
const LISTED: usize = 1000;

/// What one node says about one NodeENI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeTally {
    /// Whether the NodeENI selects the node; if not, the node still has something to say.
    pub selected: bool,
    pub desired: u32,
    pub problem: Option<Problem>,
    /// J's interfaces there that nothing asks for.
    pub unclaimed: Vec<Unclaimed>,
    /// It selects the node, which can have no interface: what the node is.
    pub skipped: Option<&'static str>,
    /// The node's kubelet allows more pods than get an address.
    pub max_pods: Option<MaxPods>,
}

/// What a NodeENI's status is made of.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    pub node_eni: &'a NodeEni,
    /// By node.
    pub nodes: &'a BTreeMap<String, NodeTally>,
    /// Its records, by name.
    pub records: &'a [Arc<NodeEniAttachment>],
    /// J's controller renews its lease.
    pub other_controller: bool,
    /// Interfaces listed in the old status that are not ours.
    pub foreign: &'a [AttachmentSummary],
    pub now: Timestamp,
}

/// Whether EC2 reports the record's interface as attached.
#[must_use]
pub fn attached(record: &NodeEniAttachment) -> bool {
    let ec2 = record
        .status
        .as_ref()
        .and_then(|status| status.ec2.as_ref());
    ec2.is_some_and(|ec2| ec2.state == Ec2State::Attached)
}

/// Whether it is attached, and its node reports it as ready.
#[must_use]
pub fn ready(record: &NodeEniAttachment) -> bool {
    let node = record
        .status
        .as_ref()
        .and_then(|status| status.node.as_ref());
    attached(record) && node.is_some_and(|node| node.phase.is_ready())
}

/// The status to write.
#[must_use]
pub fn node_eni(situation: Situation<'_>) -> NodeEniStatus {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let live = || {
        situation
            .records
            .iter()
            .filter(|record| record.metadata.deletion_timestamp.is_none())
    };
    let mut status = NodeEniStatus {
        observed_generation: situation.node_eni.metadata.generation,
        nodes: count(
            situation
                .nodes
                .values()
                .filter(|node| node.selected)
                .count(),
        ),
        desired: situation.nodes.values().map(|node| node.desired).sum(),
        attached: count(live().filter(|record| attached(record)).count()),
        ready: count(live().filter(|record| ready(record)).count()),
        ..NodeEniStatus::default()
    };
    let old = situation.node_eni.status.as_ref();
    let old_conditions = old.map(|old| old.conditions.as_slice()).unwrap_or_default();
    let (is_ready, why, message) = summary(situation, &status);
    let message = match skipped(situation) {
        Some(skipped) => format!("{message}; {skipped}"),
        None => message,
    };
    status.conditions.push(condition(
        old_conditions,
        READY,
        is_ready,
        why,
        message,
        situation.node_eni.metadata.generation,
        situation.now,
    ));
    status.conditions.extend(dpdk(situation, old_conditions));
    status
        .conditions
        .extend(max_pods(situation, old_conditions));
    let unclaimed = unclaimed(situation, old_conditions);
    status.conditions.extend(unclaimed);
    let mut all: Vec<_> = situation.foreign.to_vec();
    // One that is being adopted stays listed as J left it until it is ours.
    let waits = |record: &NodeEniAttachment| {
        let adopt = record.spec.adopt.as_ref();
        let mut listed = situation.foreign.iter();
        adopt.is_some() && listed.any(|entry| entry.eni_id.as_ref() == adopt)
    };
    let records = situation.records.iter();
    let mut records: Vec<_> = records.filter(|record| !waits(record)).collect();
    records.sort_by_key(|record| (record.spec.node_name.clone(), record.spec.position));
    let old_list = old
        .map(|old| old.attachments.as_slice())
        .unwrap_or_default();
    all.extend(
        records
            .into_iter()
            .map(|record| entry(record, old_list, situation.now)),
    );
    // J's are never cut off: the list is all that tells of them.
    let listed = LISTED.max(situation.foreign.len());
    status.attachments_truncated = all.len() > listed;
    all.truncate(listed);
    status.attachments = all;
    status
}

/// How many nodes get nothing for good, and what they are.
fn skipped(situation: Situation<'_>) -> Option<String> {
    let mut kinds = BTreeMap::new();
    let nodes = situation.nodes.values();
    for what in nodes.filter_map(|node| node.skipped) {
        *kinds.entry(what).or_insert(0_usize) += 1;
    }
    let all: usize = kinds.values().sum();
    let told: Vec<_> = match kinds.len() {
        0 => return None,
        1 => kinds.into_keys().map(ToOwned::to_owned).collect(),
        _ => {
            let each = kinds.iter();
            each.map(|(what, count)| format!("{what} ({count})"))
                .collect()
        }
    };
    let nodes = if all == 1 { "node is" } else { "nodes are" };
    Some(format!("{all} {nodes} skipped: {}", told.join(", ")))
}

fn summary(situation: Situation<'_>, counts: &NodeEniStatus) -> (bool, &'static str, String) {
    if situation.node_eni.metadata.deletion_timestamp.is_some() {
        let left = situation.records.len();
        return (
            false,
            reason::RELEASING,
            format!("{left} interfaces are left"),
        );
    }
    if situation.other_controller {
        let text = format!(
            "nodeeni-controller renews its lease in this cluster: eniway changes nothing until it \
             is stopped, as by kubectl -n {} scale deployment {} --replicas=0",
            mark::peer::NAMESPACE,
            mark::peer::DEPLOYMENT
        );
        return (false, reason::OTHER_CONTROLLER_ACTIVE, text);
    }
    let problems = || {
        let nodes = situation.nodes.values();
        nodes.filter_map(|node| node.problem.as_ref())
    };
    // What waits for a person comes first.
    if let Some(problem) = problems().min_by_key(|one| one.reason != reason::MASS_RELEASE_HELD) {
        let more = problems().count() - 1;
        let text = match more {
            0 => problem.message.clone(),
            more => format!("{} (and {more} more nodes)", problem.message),
        };
        return (false, problem.reason, text);
    }
    if counts.nodes == 0 && situation.nodes.values().any(|node| node.skipped.is_some()) {
        let text = "no node that it selects can have an interface of it";
        return (false, reason::NO_MATCHING_NODES, text.to_owned());
    }
    if counts.nodes == 0 {
        let text = "no node has the labels that nodeSelector and nodeSelectorExpressions ask for";
        return (false, reason::NO_MATCHING_NODES, text.to_owned());
    }
    let (attached, ready_ones) = (served(situation, attached), served(situation, ready));
    let leaving = match counts.attached.saturating_sub(attached) {
        0 => String::new(),
        1 => "; 1 more is on its way out".to_owned(),
        more => format!("; {more} more are on their way out"),
    };
    let progress = format!(
        "{attached} of {} interfaces are attached, {ready_ones} are ready{leaving}",
        counts.desired
    );
    // One that will replace another is not in the counts' favour: both are there meanwhile.
    let behind = |record: &&Arc<NodeEniAttachment>| {
        record.metadata.deletion_timestamp.is_none() && !ready(record)
    };
    if ready_ones >= counts.desired && !situation.records.iter().any(|one| behind(&one)) {
        return (true, reason::READY, progress);
    }
    // What a record complains about says more than a count.
    let complaint = situation
        .records
        .iter()
        .filter_map(|record| {
            let conditions = &record.status.as_ref()?.conditions;
            let ready = conditions
                .iter()
                .find(|condition| condition.type_ == READY)?;
            let spoken = ready.status != "True" && ready.reason != reason::PROGRESSING;
            spoken.then_some((record, ready))
        })
        .min_by_key(|(_, ready)| (ready.reason == reason::AGENT_SILENT, ready.reason.clone()));
    match complaint {
        None => (false, reason::PROGRESSING, progress),
        Some((record, ready)) => (
            false,
            known(&ready.reason),
            format!("{progress}; {}: {}", record.spec.node_name, ready.message),
        ),
    }
}

/// How many of the interfaces that nodes ask for are as `holds` says. One beyond what its node asks for,
/// because it is replaced or its instance ends, stands in for no other.
fn served(situation: Situation<'_>, holds: fn(&NodeEniAttachment) -> bool) -> u32 {
    let mut there: BTreeMap<&str, u32> = BTreeMap::new();
    let live = situation.records.iter();
    let live = live.filter(|record| record.metadata.deletion_timestamp.is_none());
    for record in live.filter(|record| holds(record)) {
        *there.entry(&record.spec.node_name).or_default() += 1;
    }
    let nodes = situation.nodes.iter();
    let each = nodes.map(|(name, node)| {
        there
            .get(name.as_str())
            .copied()
            .unwrap_or(0)
            .min(node.desired)
    });
    each.sum()
}

/// The reason of a record's condition, as one of ours.
fn known(text: &str) -> &'static str {
    [
        reason::RELEASING,
        reason::INSTANCE_PENDING,
        reason::INSTANCE_LIMIT_REACHED,
        reason::NO_FREE_DEVICE_INDEX,
        reason::ENA_QUEUES_NOT_AVAILABLE,
        reason::SUBNET_FULL,
        reason::ADDRESS_TAKEN,
        reason::ADDRESS_LIMIT_REACHED,
        reason::NO_FREE_ELASTIC_IP,
        reason::ELASTIC_IP_NOT_FOUND,
        reason::ELASTIC_IP_FOREIGN,
        reason::IN_USE,
        reason::ADOPTION_REQUIRED,
        reason::SUBNET_NOT_FOUND,
        reason::SECURITY_GROUP_NOT_FOUND,
        reason::SUBNET_IN_OTHER_ZONE,
        reason::THROTTLED,
        reason::EC2_UNAVAILABLE,
        reason::NOT_AUTHORIZED,
        reason::INVALID_REQUEST,
        reason::AGENT_SILENT,
        reason::AGENT_TOO_OLD,
        reason::NODE_FAILED,
    ]
    .into_iter()
    .find(|known| *known == text)
    .unwrap_or(reason::PROGRESSING)
}

/// J's interfaces that nobody asks for any more, by name, and how to remove them.
fn unclaimed(situation: Situation<'_>, old: &[Condition]) -> Option<Condition> {
    /// More would not fit into an event.
    const NAMED: usize = 5;
    let nodes = situation.nodes.values();
    let all: Vec<_> = nodes.flat_map(|node| &node.unclaimed).collect();
    if situation.other_controller || all.is_empty() {
        return None;
    }
    let named: Vec<_> = all.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "nodeeni-controller made {}{more}, and nothing asks for them now; they are left alone. To \
         remove one: aws ec2 detach-network-interface --attachment-id <its attachmentID in \
         status.attachments>, then aws ec2 delete-network-interface --network-interface-id {}",
        named.join(", "),
        all[0].eni
    );
    Some(condition(
        old,
        UNCLAIMED,
        true,
        reason::ADOPTION_REQUIRED,
        message,
        situation.node_eni.metadata.generation,
        situation.now,
    ))
}

fn entry(
    record: &NodeEniAttachment,
    old: &[AttachmentSummary],
    now: Timestamp,
) -> AttachmentSummary {
    let status = record.status.as_ref();
    let ec2 = status.and_then(|status| status.ec2.as_ref());
    let node = status.and_then(|status| status.node.as_ref());
    let mut entry = AttachmentSummary {
        node_id: record.spec.node_name.clone(),
        instance_id: Some(record.spec.instance_id.clone()),
        eni_id: ec2.and_then(|ec2| ec2.eni_id.clone()),
        attachment_id: ec2.and_then(|ec2| ec2.attachment_id.clone()),
        subnet_id: Some(record.spec.subnet_id.clone()),
        subnet_cidr: ec2
            .and_then(|ec2| ec2.subnet_cidrs.first())
            .map(ToString::to_string),
        mtu: node.and_then(|node| node.mtu),
        device_index: ec2.and_then(|ec2| ec2.device_index),
        status: match ec2.map(|ec2| ec2.state) {
            None | Some(Ec2State::Planned) => "",
            Some(Ec2State::Available | Ec2State::Deleted) => "detached",
            Some(Ec2State::Attaching) => "attaching",
            Some(Ec2State::Attached) => "attached",
            Some(Ec2State::Detaching) => "detaching",
        }
        .to_owned(),
        ..listed(record)
    };
    // The old time stands while nothing else changed.
    let before = old.iter().find(|old| {
        old.node_id == entry.node_id
            && old.instance_id == entry.instance_id
            && old.subnet_id == entry.subnet_id
    });
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    entry.last_updated = before.and_then(|old| old.last_updated.clone());
    if before != Some(&entry) || entry.last_updated.is_none() {
        entry.last_updated = Some(Time(now));
    }
    entry
}

#[cfg(test)]
mod tests;
