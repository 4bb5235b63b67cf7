//! Keeps what each node says of each NodeENI, for the NodeENI's status.

use crate::{
    controller::Controller,
    desired::{Declared, Desired},
    status::NodeTally,
};

impl Controller {
    /// Keeps what the node says of each NodeENI, and has the status of those that it concerns written.
    pub(super) fn tally(&self, node: &str, declared: &[Declared], desired: &Desired) {
        let mut tallies = self.tallies();
        for one in declared {
            let Declared::Readable(node_eni) = one else {
                continue;
            };
            let uid = one.uid();
            let problem = desired.problem_of(uid);
            let selected = desired.matching.iter().any(|matching| matching == uid);
            let unclaimed = desired.unclaimed.iter();
            let unclaimed: Vec<_> = unclaimed
                .filter(|one| one.node_eni == uid)
                .cloned()
                .collect();
            let skipped = desired.skipped.get(uid).copied();
            let says_more = !unclaimed.is_empty() || skipped.is_some();
            let new = (selected || problem.is_some() || says_more).then(|| {
                let wishes = desired.wishes.iter();
                let wishes = wishes.filter(|wish| wish.spec.node_eni.uid == uid).count();
                NodeTally {
                    selected,
                    desired: u32::try_from(wishes).unwrap_or(u32::MAX),
                    problem: problem.cloned(),
                    unclaimed,
                    skipped,
                    max_pods: desired.max_pods.clone().filter(|_| wishes > 0),
                }
            });
            let nodes = tallies.entry(uid.to_owned()).or_default();
            let changed = nodes.get(node) != new.as_ref();
            match new {
                Some(new) => nodes.insert(node.to_owned(), new),
                None => nodes.remove(node),
            };
            if changed {
                let name = node_eni.metadata.name.clone().unwrap_or_default();
                self.node_enis.add(name, self.now());
            }
        }
    }
}
