//! The loop: for each node that is due, look at what is known, plan, apply, until nothing is left.

mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use eniway_api::{Ec2State, NodeEniAttachment, VpcId, mark};
use futures::future::join_all;
use tracing::{Instrument as _, info_span, warn};

use crate::{
    action::Action,
    apply::{Chain, Outcome, soon},
    controller::Controller,
    desired::{Declared, Fleet, Inputs, Node, Others, desired, restrain},
    holders::Pod,
    kubernetes::age,
    plan::{Agent, Now, Observed, Plan, addresses::gives_up, annotate, announce, expose, plan},
    rivals::rivals,
};

/// How many nodes are worked on at once. Most of them wait for tokens; with fewer, those whose next call
/// has tokens would wait for those whose call has none (500 nodes of two interfaces were cleaned up in 437 s
/// with 64 at once, and in 241 s, EC2's own bound, with 512).
pub(crate) const PARALLEL: usize = 512;
/// More rounds than any node needs in a row; a loop beyond that yields to others.
const ROUNDS: usize = 32;
/// An agent that has not renewed its lease for so long is silent.
const SILENT: Duration = Duration::from_secs(300);

impl Controller {
    /// Works on one node and says when to come back.
    pub(crate) async fn reconcile(&self, node: &str) -> Option<Instant> {
        let begun = self.now();
        let span = info_span!("reconcile", node);
        let (again, ok) = self.rounds(node).instrument(span).await;
        self.metrics.reconciled(ok, self.now() - begun);
        again
    }

    async fn rounds(&self, node: &str) -> (Option<Instant>, bool) {
        for _ in 0..ROUNDS {
            // The whole read makes every node due once there is enough to decide by.
            let (true, Some(vpc)) = (self.may_decide(), self.vpc()) else {
                return (None, true);
            };
            let agent = self.agent(node).await;
            let pods = self.pods(node).await;
            let plan = self.think(node, &vpc, agent, pods.as_deref());
            if plan.actions.is_empty() || !self.may_act() {
                return (plan.wake, true);
            }
            let outcomes = join_all(plan.actions.iter().map(|action| self.apply(action))).await;
            let failed = outcomes.contains(&Outcome::Failed);
            let done =
                plan.actions.iter().zip(&outcomes).any(|(action, outcome)| {
                    action.changes_something() && *outcome == Outcome::Done
                });
            if failed {
                return (Some(soon(self.now())), false);
            }
            if !done {
                // Held: plan once more for the time of waking and the words of the conditions.
                let after = self.think(node, &vpc, agent, pods.as_deref());
                let reports: Vec<_> = after
                    .actions
                    .iter()
                    .filter(|action| matches!(action, Action::Report { .. }))
                    .collect();
                let refused = plan.actions.iter().any(Action::changes_something);
                if refused && !reports.is_empty() {
                    join_all(reports.into_iter().map(|action| self.apply(action))).await;
                }
                return (after.wake, !refused);
            }
        }
        (Some(soon(self.now())), true)
    }

    /// What the node should have, and what to do about it.
    fn think(&self, node: &str, vpc: &VpcId, agent: Agent, pods: Option<&[Pod]>) -> Plan {
        let now = Now {
            monotonic: self.now(),
            wall: self.wall(),
        };
        // One lock for choosing and promising: two nodes never take the last address together, nor
        // the last leave to be without an interface.
        let mut cache = self.cache();
        let records = cache.records_of_node(node);
        let declared: Vec<Declared> = cache.node_enis.values().cloned().collect();
        let promised = cache.promised();
        let pools = cache.pools(&self.cluster.uid, node);
        let snapshot = self.snapshot();
        let mut desired = desired(Inputs {
            node: cache.nodes.get(node),
            declared: &declared,
            records: &records,
            snapshot: &snapshot,
            vpc,
            promised: &promised,
            adopt: self.config.adopt,
            pools: &pools,
        });
        let recorded = records.iter().map(|record| &record.spec.instance_id);
        let standing = cache.nodes.get(node).and_then(Node::instance);
        let ids: Vec<_> = recorded.chain(standing).collect();
        let told = self.expected().unsettled(&ids, &snapshot, now.monotonic);
        desired.unsettled.extend(told);
        // What was decided for this node is decided anew; what other nodes were told stands.
        cache.going.remove(node);
        restrain(&mut desired, &declared, |node_eni| {
            let others = Others {
                node,
                records: cache.records.objects(),
                nodes: cache.nodes.objects(),
                going: &cache.going,
                snapshot: &snapshot,
                vpc,
            };
            Fleet::of(node_eni, others)
        });
        let going = desired.releases.iter().map(|one| one.record.clone());
        let going: BTreeSet<_> = going.collect();
        if !going.is_empty() {
            cache.going.insert(node.to_owned(), going);
        }
        for wish in &desired.wishes {
            if cache.records.get(&wish.record).is_some() {
                continue;
            }
            let (record, spec) = (wish.record.clone(), &wish.spec);
            match &spec.pool {
                Some(place) => cache.promise_member(node, record, place),
                None => cache.promise(record, spec),
            }
        }
        cache.release_promises(node, &desired.wishes);
        let newly = cache.wait(node, desired.waits_for.clone());
        let rivals = rivals(&records, cache.records.objects());
        let elastic_ips = cache.choose_elastic_ips(node, &records, &snapshot);
        let known = cache.nodes.get(node);
        let said = known.map(|known| {
            let mut said = announce(known, &declared, &records, &desired);
            said.extend(expose(known, &records));
            let annotates = self.config.annotate_nodes;
            said.extend(annotate(known, records.as_slice(), annotates));
            said
        });
        drop(cache);
        let memories = {
            let mut all = self.memories();
            for record in &records {
                notice_detaching(&mut all, record, &snapshot, now.monotonic);
            }
            let uids = records.iter().filter_map(|r| r.metadata.uid.clone());
            uids.filter_map(|uid| all.get(&uid).map(|memory| (uid, memory.clone())))
                .collect::<BTreeMap<_, _>>()
        };
        let paces = {
            let mut all = self.paces();
            // What has settled is asked for at once when it moves again.
            for record in &records {
                if !desired.unsettled.contains(&record.spec.instance_id) {
                    all.remove(&record.spec.instance_id);
                }
            }
            let known = desired.unsettled.iter();
            known
                .filter_map(|id| Some((id.clone(), all.get(id)?.clone())))
                .collect::<BTreeMap<_, _>>()
        };
        let mut plan = plan(
            &desired,
            Observed {
                records: &records,
                snapshot: &snapshot,
                memories: &memories,
                paces: &paces,
                agent,
                pods,
                rivals: &rivals,
                elastic_ips: &elastic_ips,
                cluster: &self.cluster,
                grace: self.config.timing.grace,
                release_within: self.config.timing.release,
                catalog_pause: self.config.timing.catalog_on_request,
                leading_since: self.leadership.borrow().since.unwrap_or(now.monotonic),
            },
            now,
        );
        plan.actions.extend(said.unwrap_or_default());
        drop(snapshot);
        if newly {
            self.holders_due(desired.waits_for.iter().map(|(pool, _)| pool.as_str()));
        }
        self.tally(node, &declared, &desired);
        plan
    }

    /// The node's pods. Asked only when something of theirs may be taken away; `None`: not known.
    async fn pods(&self, node: &str) -> Option<Vec<Pod>> {
        let records = self.cache().records_of_node(node);
        if !records.iter().any(may_disturb) {
            return None;
        }
        match self.kubernetes.pods(node).await {
            Ok(pods) => Some(pods),
            Err(error) => {
                warn!(error = %Chain(&error), "Pods were not read, nothing is taken from them");
                None
            }
        }
    }

    /// Whether the node's agent lives. Asked only when a release depends on it.
    async fn agent(&self, node: &str) -> Agent {
        let records = self.cache().records_of_node(node);
        if !records.iter().any(awaits_release) {
            return Agent::Alive;
        }
        let name = mark::agent_lease(node);
        match self.kubernetes.lease(&self.config.namespace, &name).await {
            Ok(None) => Agent::Never,
            Ok(Some(lease)) => match lease.renewed {
                Some(renewed) if age(renewed, self.wall()) < SILENT => Agent::Alive,
                _ => Agent::Silent,
            },
            Err(error) => {
                warn!(error = %Chain(&error), "Lease was not read, waiting for the agent");
                Agent::Alive
            }
        }
    }
}

/// Whether a release, or an address that is to be taken off, depends on who uses it.
fn may_disturb(record: &Arc<NodeEniAttachment>) -> bool {
    awaits_release(record) || gives_up(record)
}

fn awaits_release(record: &Arc<NodeEniAttachment>) -> bool {
    let status = record.status.as_ref();
    let attached = status
        .and_then(|status| status.ec2.as_ref())
        .is_some_and(|ec2| {
            matches!(
                ec2.state,
                Ec2State::Available | Ec2State::Attaching | Ec2State::Attached
            )
        });
    record.metadata.deletion_timestamp.is_some() && attached
}

/// Starts the clock of a detachment when it is first seen.
fn notice_detaching(
    memories: &mut BTreeMap<String, crate::memory::Memory>,
    record: &NodeEniAttachment,
    snapshot: &eniway_ec2::Snapshot,
    now: Instant,
) {
    let Some(uid) = &record.metadata.uid else {
        return;
    };
    let detaching = snapshot.of_record(uid).any(|eni| {
        eni.attachment
            .as_ref()
            .is_some_and(|a| a.state == eniway_ec2::AttachmentState::Detaching)
    });
    if detaching {
        let memory = memories.entry(uid.clone()).or_default();
        memory.detaching_since.get_or_insert(now);
    } else if let Some(memory) = memories.get_mut(uid) {
        memory.detaching_since = None;
        memory.forced = false;
    }
}
