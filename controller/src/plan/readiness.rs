//! Decides what a node says of its interfaces: a label for each NodeENI that is fulfilled on it, and no
//! start-up taint any more once all are.

use std::{collections::BTreeMap, sync::Arc};

use eniway_api::{NodeEni, NodeEniAttachment, conditions::reason, mark};
use kube::ResourceExt as _;

use crate::{
    action::Action,
    desired::{Declared, Desired, Node, Problem, Wish, is_decision, successor},
    status,
};

#[cfg(test)]
mod tests;

/// How far a NodeENI has come on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has nothing for this node, for good.
    NotHere,
    /// Everything that it asks for is ready.
    Fulfilled,
    /// Something is still to come.
    Awaited,
    /// What it asks for is not known; what it had here still works.
    Undecided,
}

/// What must be written on the node: first its labels, then, when nothing is awaited, its taint.
#[must_use]
pub fn announce(
    node: &Node,
    declared: &[Declared],
    records: &[Arc<NodeEniAttachment>],
    desired: &Desired,
) -> Vec<Action> {
    let here = Here {
        node,
        records,
        desired,
    };
    let mut awaited = !node.is_initialized();
    let mut labels: BTreeMap<String, bool> = said(node).map(|key| (key, false)).collect();
    for one in declared {
        let (name, progress) = match one {
            Declared::Readable(node_eni) => (node_eni.name_any(), here.progress(node_eni)),
            Declared::Unreadable { name, .. } => (name.clone(), Progress::Undecided),
        };
        let key = mark::ready_label(&name);
        match progress {
            Progress::NotHere => {}
            Progress::Fulfilled => {
                labels.insert(key, true);
            }
            Progress::Awaited => awaited = true,
            Progress::Undecided => {
                awaited = true;
                labels.remove(&key);
            }
        }
    }
    labels.retain(|key, set| *set != node.labels.get(key).is_some_and(|value| value == "true"));
    let (name, uid) = (node.name.clone(), node.uid.clone());
    if !labels.is_empty() {
        return vec![Action::LabelNode { name, uid, labels }];
    }
    let taints = node.start_up_taints();
    if awaited || taints.is_empty() {
        return Vec::new();
    }
    vec![Action::Untaint { name, uid, taints }]
}

/// The labels by which the node says that something is ready.
fn said(node: &Node) -> impl Iterator<Item = String> {
    let keys = node.labels.keys();
    keys.filter(|key| key.starts_with(mark::LABEL_READY))
        .cloned()
}

/// What is known of one node.
#[derive(Clone, Copy)]
struct Here<'a> {
    node: &'a Node,
    records: &'a [Arc<NodeEniAttachment>],
    desired: &'a Desired,
}

impl<'a> Here<'a> {
    fn progress(self, node_eni: &NodeEni) -> Progress {
        let uid = node_eni.metadata.uid.as_deref().unwrap_or_default();
        if !self.desired.matching.iter().any(|one| one == uid) {
            return Progress::NotHere;
        }
        let problems = || {
            let problems = self.desired.problems.iter();
            problems.filter(|problem| problem.node_eni == uid)
        };
        if problems().any(is_open) {
            return if self.ready(uid).next().is_some() {
                Progress::Undecided
            } else {
                Progress::Awaited
            };
        }
        let wishes = || {
            let wishes = self.desired.wishes.iter();
            wishes.filter(|wish| wish.spec.node_eni.uid == uid)
        };
        if wishes().next().is_none() && problems().any(is_decision) {
            Progress::NotHere
        } else if wishes().next().is_some() && wishes().all(|wish| self.serves(node_eni, wish)) {
            Progress::Fulfilled
        } else {
            Progress::Awaited
        }
    }

    /// Whether the wish's interface is ready, or the one that it will replace still is.
    fn serves(self, node_eni: &NodeEni, wish: &Wish) -> bool {
        self.ready(&wish.spec.node_eni.uid).any(|record| {
            let name = record.name_any();
            let wishes = &self.desired.wishes;
            name == wish.record
                || wishes.iter().all(|other| other.record != name)
                    && successor(self.desired, node_eni, record) == Some(wish)
        })
    }

    /// The NodeENI's records on this instance that are ready and stay.
    fn ready(self, uid: &str) -> impl Iterator<Item = &'a NodeEniAttachment> {
        self.records.iter().map(Arc::as_ref).filter(move |record| {
            record.spec.node_eni.uid == uid
                && Some(&record.spec.instance_id) == self.node.instance()
                && record.metadata.deletion_timestamp.is_none()
                && status::ready(record)
        })
    }
}

/// Whether the problem leaves open what the node will have. A release that waits does not.
fn is_open(problem: &Problem) -> bool {
    let waits = [reason::MASS_RELEASE_HELD, reason::UPDATE_HELD];
    !is_decision(problem) && !waits.contains(&problem.reason)
}
