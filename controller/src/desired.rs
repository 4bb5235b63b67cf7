//! Decides which interfaces one node should have, and says why some are impossible.
//!
//! Pure: no clock, no client. What cannot be decided now (an unknown name, an instance that EC2 does
//! not show yet) keeps the records that exist: not knowing is no reason to take anything away.

mod adoption;
mod blast;
mod max_pods;
mod node;
mod pools;
mod resolve;
mod spec;
mod unwanted;
mod wishes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eniway_api::{
    DeletionPolicy, InstanceId, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec, NodeEniRef,
    SubnetId, VpcId, conditions::reason,
};
use eniway_ec2::{Instance, InstanceState, Snapshot};
use kube::ResourceExt as _;

pub(crate) use self::unwanted::{is_decision, successor};
pub use self::{
    adoption::Unclaimed,
    blast::{Fleet, Others, restrain},
    max_pods::MaxPods,
    node::{Node, Provider, Taint, matters, provider, selects},
    pools::{Holder, Pools},
    unwanted::Unwanted,
};
pub(crate) use self::{
    pools::{groups, member},
    resolve::Catalog,
};
use self::{
    unwanted::{changed_policy, lost_its_node, unwanted},
    wishes::Place,
};

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

/// A record that nothing wants any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub record: String,
    /// The NodeENI's UID.
    pub node_eni: String,
    pub why: Unwanted,
    /// What the NodeENI now says of its interfaces' end, where the record says something else.
    pub policy: Option<DeletionPolicy>,
}

/// What one node should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub wishes: Vec<Wish>,
    /// Records that nothing wants any more.
    pub releases: Vec<Release>,
    pub problems: Vec<Problem>,
    /// J's interfaces on the node that nothing asks for.
    pub unclaimed: Vec<Unclaimed>,
    /// UIDs of the NodeENIs that select the node.
    pub matching: Vec<String>,
    /// UIDs of the NodeENIs that select the node and have nothing for it, and what the node is.
    pub skipped: BTreeMap<String, &'static str>,
    /// Instances that EC2 does not show yet, that are on their way to another state, or that have
    /// lost their node: what became of them is asked for.
    pub unsettled: BTreeSet<InstanceId>,
    /// A subnet or group was not found: the catalog may be out of date.
    pub unresolved: bool,
    /// Pools and zones of which the node waits for a member.
    pub waits_for: BTreeSet<(String, String)>,
    /// A release waits for other nodes.
    pub waits: bool,
    /// The kubelet allows more pods than get an address.
    pub max_pods: Option<MaxPods>,
}

impl Desired {
    /// What keeps a NodeENI from being fulfilled here. What waits for a person comes first.
    #[must_use]
    pub fn problem_of(&self, node_eni: &str) -> Option<&Problem> {
        let problems = self.problems.iter();
        problems
            .filter(|problem| problem.node_eni == node_eni)
            .min_by_key(|problem| problem.reason != reason::MASS_RELEASE_HELD)
    }
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
    /// Whether J's interfaces are taken over.
    pub adopt: bool,
    /// Pools, and who holds their members.
    pub pools: &'a Pools,
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
            desired.releases.push(Release {
                record: record.name_any(),
                node_eni: record.spec.node_eni.uid.clone(),
                why,
                policy: changed_policy(inputs, record),
            });
        }
    }
    desired.max_pods = max_pods::hint(&desired, inputs);
    if inputs.adopt {
        adoption::report_unclaimed(&mut desired, inputs);
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
        Provider::Foreign(what) => {
            desired.skipped.insert(uid, what);
            return;
        }
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
        desired.skipped.insert(uid, "in another VPC");
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
    if !inputs.adopt
        && let Some((eni, _)) = adoption::listed(inputs, node_eni, instance).next()
    {
        return problem(
            reason::ADOPTION_REQUIRED,
            format!(
                "{eni} on node {} was made by another controller; it is left alone, because \
                 controller.adopt is false",
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
