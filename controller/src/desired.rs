//! Decides which interfaces one node should have, and says why some are impossible.
//!
//! Pure: no clock, no client. What cannot be decided now (an unknown name, an instance that EC2 does
//! not show yet) keeps the records that exist: not knowing is no reason to take anything away.

mod resolve;
mod spec;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eniway_api::{
    InstanceId, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec, NodeEniRef, SubnetId,
    SubnetPolicy, VpcId, attachment::record_name, conditions::reason,
};
use eniway_ec2::{Instance, InstanceState, Snapshot, Subnet};
use kube::ResourceExt as _;

/// A Kubernetes node, as far as interfaces care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub provider: Provider,
}

/// What runs a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// An EC2 instance.
    Instance(InstanceId),
    /// Nobody said yet.
    Unknown,
    /// Something that has no interfaces for us, as Fargate or a hybrid node.
    Foreign(String),
}

impl Node {
    /// The instance, if it is one.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        match &self.provider {
            Provider::Instance(id) => Some(id),
            Provider::Unknown | Provider::Foreign(_) => None,
        }
    }
}

/// Reads a node's `spec.providerID` and its labels.
#[must_use]
pub fn provider(provider_id: Option<&str>, labels: &BTreeMap<String, String>) -> Provider {
    if let Some(kind) = labels.get("eks.amazonaws.com/compute-type")
        && matches!(kind.as_str(), "fargate" | "hybrid")
    {
        return Provider::Foreign(kind.clone());
    }
    let Some(id) = provider_id.filter(|id| !id.is_empty()) else {
        return Provider::Unknown;
    };
    // aws:///eu-central-1a/i-0123456789abcdef0
    let last = id.rsplit('/').next().unwrap_or_default();
    if id.starts_with("aws://") && last.starts_with("i-") {
        Provider::Instance(last.into())
    } else {
        Provider::Foreign(id.to_owned())
    }
}

/// A NodeENI as the API server holds it; one that cannot be read keeps its place.
#[derive(Clone, Debug)]
pub enum Declared {
    Readable(Arc<NodeEni>),
    /// Written by another release, or broken: nothing of it is touched.
    Unreadable {
        name: String,
        uid: String,
        why: String,
    },
}

impl Declared {
    #[must_use]
    pub fn uid(&self) -> &str {
        match self {
            Self::Readable(node_eni) => node_eni.metadata.uid.as_deref().unwrap_or_default(),
            Self::Unreadable { uid, .. } => uid,
        }
    }
}

/// An interface that should exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub record: String,
    pub spec: NodeEniAttachmentSpec,
}

/// Why a NodeENI is not fulfilled on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The NodeENI's UID.
    pub node_eni: String,
    pub reason: &'static str,
    pub message: String,
}

/// What one node should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub wishes: Vec<Wish>,
    /// Records that nothing wants any more, with the reason.
    pub unwanted: Vec<(String, &'static str)>,
    pub problems: Vec<Problem>,
    /// UIDs of the NodeENIs that select the node.
    pub matching: Vec<String>,
    /// Instances that EC2 does not show yet, that are on their way to another state, or that have
    /// lost their node: what became of them is asked for.
    pub unsettled: BTreeSet<InstanceId>,
    /// A subnet or group was not found: the catalog may be out of date.
    pub unresolved: bool,
}

/// What the decision looks at.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// `None`: Kubernetes has no such node (any more).
    pub node: Option<&'a Node>,
    pub declared: &'a [Declared],
    /// The records that name the node.
    pub records: &'a [Arc<NodeEniAttachment>],
    pub snapshot: &'a Snapshot,
    /// The cluster's network.
    pub vpc: &'a VpcId,
    /// Addresses that are promised in a subnet and not yet taken.
    pub promised: &'a BTreeMap<SubnetId, u32>,
}

/// What the node should have.
#[must_use]
pub fn desired(inputs: Inputs<'_>) -> Desired {
    let mut desired = Desired::default();
    let instance = inputs
        .node
        .and_then(Node::instance)
        .and_then(|id| inputs.snapshot.instance(id));
    for declared in inputs.declared {
        match declared {
            Declared::Readable(node_eni) => {
                one_node_eni(&mut desired, inputs, instance, node_eni);
            }
            Declared::Unreadable { uid, why, .. } => desired.problems.push(Problem {
                node_eni: uid.clone(),
                reason: reason::INVALID_REQUEST,
                message: format!("this release cannot read the NodeENI: {why}"),
            }),
        }
    }
    for record in inputs.records {
        if lost_its_node(inputs, record) {
            desired.unsettled.insert(record.spec.instance_id.clone());
        }
        if record.metadata.deletion_timestamp.is_none()
            && let Some(why) = unwanted(&desired, inputs, record)
        {
            desired.unwanted.push((record.name_any(), why));
        }
    }
    desired
}

fn one_node_eni(
    desired: &mut Desired,
    inputs: Inputs<'_>,
    instance: Option<&Instance>,
    node_eni: &NodeEni,
) {
    let Some(node) = inputs.node else { return };
    if node_eni.metadata.deletion_timestamp.is_some() || !selects(node_eni, node) {
        return;
    }
    let uid = node_eni.metadata.uid.clone().unwrap_or_default();
    let mut problem = |reason: &'static str, message: String| {
        desired.problems.push(Problem {
            node_eni: uid.clone(),
            reason,
            message,
        });
    };
    let id = match &node.provider {
        // Nothing will ever be attached there, and nobody has to act.
        Provider::Foreign(_) => return,
        Provider::Unknown => {
            desired.matching.push(uid.clone());
            return problem(
                reason::NODE_WITHOUT_INSTANCE,
                format!("node {} has no spec.providerID yet", node.name),
            );
        }
        Provider::Instance(id) => id,
    };
    let Some(instance) = instance else {
        desired.matching.push(uid.clone());
        desired.unsettled.insert(id.clone());
        return problem(
            reason::INSTANCE_PENDING,
            format!("EC2 does not show instance {id} of node {} yet", node.name),
        );
    };
    if instance.vpc.as_ref().is_some_and(|vpc| vpc != inputs.vpc) {
        return;
    }
    desired.matching.push(uid.clone());
    match instance.state {
        InstanceState::Running | InstanceState::Stopped => {}
        InstanceState::Pending | InstanceState::Stopping => {
            desired.unsettled.insert(id.clone());
            return problem(
                reason::INSTANCE_PENDING,
                format!("instance {id} is {:?}, not running", instance.state),
            );
        }
        InstanceState::ShuttingDown | InstanceState::Terminated => return,
    }
    if let Some(eni) = made_by_peer(inputs.snapshot, node_eni, instance) {
        return problem(
            reason::ADOPTION_REQUIRED,
            format!(
                "{eni} on node {} was made by another controller; it is left alone",
                node.name
            ),
        );
    }
    let place = Place {
        node,
        instance,
        node_eni,
        reference: NodeEniRef {
            name: node_eni.name_any(),
            uid,
        },
    };
    place.wishes(desired, inputs);
}

struct Place<'a> {
    node: &'a Node,
    instance: &'a Instance,
    node_eni: &'a NodeEni,
    reference: NodeEniRef,
}

impl Place<'_> {
    fn wishes(&self, desired: &mut Desired, inputs: Inputs<'_>) {
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
            desired.wishes.push(Wish {
                record,
                spec: self.spec(subnet, position, &groups.found),
            });
        }
        self.report(desired, problems);
    }

    /// The subnet of the node's zone with the most free addresses; a live record's stays.
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
        // Of equals the first in the list: `max_by_key` would take the last.
        recorded.or_else(|| here().rev_max(free))
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

trait FirstOfMost<'s>: Iterator<Item = (u32, &'s Subnet)> + Sized {
    fn rev_max(self, free: impl Fn(&Subnet) -> u32) -> Option<(u32, &'s Subnet)> {
        self.min_by_key(|(position, subnet)| (std::cmp::Reverse(free(subnet)), *position))
    }
}

impl<'s, I: Iterator<Item = (u32, &'s Subnet)>> FirstOfMost<'s> for I {}

/// Whether the node has every label that is asked for. An empty selector selects nothing.
#[must_use]
pub fn selects(node_eni: &NodeEni, node: &Node) -> bool {
    let selector = &node_eni.spec.node_selector;
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
}

/// An interface that the NodeENI's status lists, that is on the instance, and that is not ours.
fn made_by_peer<'a>(
    snapshot: &Snapshot,
    node_eni: &'a NodeEni,
    instance: &Instance,
) -> Option<&'a eniway_api::EniId> {
    let listed = &node_eni.status.as_ref()?.attachments;
    listed
        .iter()
        .filter_map(|entry| entry.eni_id.as_ref())
        .find(|id| {
            snapshot.eni(id).is_none() && instance.interfaces.iter().any(|place| place.eni == **id)
        })
}

/// Whether Kubernetes dropped or replaced the record's node, and EC2 has not said that the instance
/// ends.
fn lost_its_node(inputs: Inputs<'_>, record: &NodeEniAttachment) -> bool {
    let id = &record.spec.instance_id;
    let ends = match inputs.snapshot.instance(id) {
        Some(instance) => instance.state.is_gone(),
        None => inputs.snapshot.is_missing(id),
    };
    !ends && inputs.node.and_then(Node::instance) != Some(id)
}

/// Why a record should go, if it should.
fn unwanted(
    desired: &Desired,
    inputs: Inputs<'_>,
    record: &NodeEniAttachment,
) -> Option<&'static str> {
    let spec = &record.spec;
    let owner = inputs
        .declared
        .iter()
        .find(|declared| declared.uid() == spec.node_eni.uid);
    let node_eni = match owner {
        None => return Some("its NodeENI is gone"),
        Some(Declared::Unreadable { .. }) => return None,
        Some(Declared::Readable(node_eni)) => node_eni,
    };
    if node_eni.metadata.deletion_timestamp.is_some() {
        return Some("its NodeENI is being deleted");
    }
    let gone = match inputs.snapshot.instance(&spec.instance_id) {
        Some(instance) => instance.state.is_gone(),
        // A deleted node is not gone; one that EC2 does not know either, is.
        None => {
            inputs.snapshot.is_missing(&spec.instance_id)
                && inputs.node.and_then(Node::instance) != Some(&spec.instance_id)
        }
    };
    if gone {
        return Some("its instance is terminated");
    }
    let node = inputs.node?;
    if node.instance() != Some(&spec.instance_id) {
        return None;
    }
    if !selects(node_eni, node) {
        return Some("the node lost the label");
    }
    let undecided = desired
        .problems
        .iter()
        .any(|problem| problem.node_eni == spec.node_eni.uid);
    let wished = desired
        .wishes
        .iter()
        .any(|wish| wish.record == record.name_any());
    (!undecided && !wished).then_some("the NodeENI names another subnet")
}
