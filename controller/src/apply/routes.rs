//! Keeps the VPC's routes as NodeENIs ask, and tells of those that lead nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use eniway_api::{
    NodeEni, NodeEniRef, RouteStatus, VpcId,
    conditions::{ROUTES_READY, reason},
};
use eniway_ec2::{RouteChange, RouteDeed, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use tracing::{debug, info, warn};

use super::{Chain, refusal::why};
use crate::{
    controller::Controller,
    desired::Declared,
    kubernetes::{Error, Notice},
    memory::{Hold, Memory},
    routes::{Inputs, Key, Routes, routes, wanted},
    status::condition,
    summary::is_ours,
};

/// Changes of one round: others get their turn, and EC2's bucket is small.
const BATCH: usize = 20;
/// Until the next round looks whether the changes hold.
const SETTLE: Duration = Duration::from_secs(2);
/// More troubles would not fit into an event.
const NAMED: usize = 5;

/// What the task remembers. Losing it costs a look and a write, no more.
#[derive(Default)]
pub(crate) struct Kept {
    /// By the NodeENI's UID: what was written last. The watch may be behind.
    written: BTreeMap<String, Said>,
    /// UIDs of NodeENIs for which a later write was not answered, and is repeated.
    unsure: BTreeSet<String>,
    /// Routes that EC2 refused to change.
    held: BTreeMap<Key, Memory>,
}

impl Kept {
    /// The first changes that EC2 has not refused lately.
    fn due(&self, decided: &Routes, now: Instant) -> Vec<RouteChange> {
        let free = |change: &&RouteChange| self.hold(change, now).is_none();
        let due = decided.changes.iter().filter(free);
        due.take(BATCH).cloned().collect()
    }

    /// Why and until when a change waits.
    fn hold(&self, change: &RouteChange, now: Instant) -> Option<&Hold> {
        let memory = self.held.get(&(change.table.clone(), change.destination));
        let hold = memory.and_then(|memory| memory.hold.as_ref());
        hold.filter(|hold| hold.until > now)
    }
}

#[derive(Clone, PartialEq)]
struct Said {
    listed: Vec<RouteStatus>,
    condition: Option<Condition>,
}

impl Said {
    fn of(node_eni: &NodeEni) -> Self {
        let status = node_eni.status.as_ref();
        let conditions = status.map(|status| status.conditions.as_slice());
        let mut conditions = conditions.unwrap_or_default().iter();
        Self {
            listed: status.map(|one| one.routes.clone()).unwrap_or_default(),
            condition: conditions.find(|one| one.type_ == ROUTES_READY).cloned(),
        }
    }
}

impl Controller {
    /// Works on routes as NodeENIs become due. Never ends.
    pub(crate) async fn keep_routes(&self) {
        let mut kept = Kept::default();
        loop {
            let name = self.routes.next().await;
            let again = self.keep_routes_of(&name, &mut kept).await;
            self.routes.done(name, again);
        }
    }

    async fn keep_routes_of(&self, name: &str, kept: &mut Kept) -> Option<Instant> {
        let vpc = self.vpc().filter(|_| self.may_act())?;
        let declared = self.cache().node_enis.get(name).cloned();
        let Some(Declared::Readable(node_eni)) = declared else {
            let cache = self.cache();
            let known: BTreeSet<_> = cache.node_enis.values().map(Declared::uid).collect();
            kept.written.retain(|uid, _| known.contains(uid.as_str()));
            kept.unsure.retain(|uid| known.contains(uid.as_str()));
            return None;
        };
        if !is_ours(&node_eni) {
            // It could go at once, and a route that was made for it would be nobody's. Its finalizer brings it here again.
            return None;
        }
        let uid = node_eni.uid().unwrap_or_default();
        let said = kept.written.get(&uid).cloned();
        let said = said.unwrap_or_else(|| Said::of(&node_eni));
        let asks = !wanted(&node_eni).is_empty() || said.listed.iter().any(|one| one.created);
        let unknown = self.snapshot().tables().is_none();
        if unknown && (!asks || !self.read_tables(&vpc).await) {
            return asks.then(|| self.now() + SETTLE * 15);
        }
        match self.round(&node_eni, said, &vpc, kept).await {
            Ok(again) => again,
            Err(error) if error.is_outdated() => {
                debug!(error = %Chain(&error), "NodeENI has changed");
                Some(self.now() + SETTLE)
            }
            Err(error) => {
                warn!(error = %Chain(&error), "Routes were not reported, trying again");
                Some(self.now() + SETTLE)
            }
        }
    }

    async fn round(
        &self,
        node_eni: &NodeEni,
        mut said: Said,
        vpc: &VpcId,
        kept: &mut Kept,
    ) -> Result<Option<Instant>, Error> {
        let mut decided = self.decide(node_eni, &said.listed);
        let now = self.now();
        let mut due = kept.due(&decided, now);
        if !due.is_empty() || decided.unclear {
            // A change is decided by the routes as they are now: somebody may have taken one over.
            if !self.read_tables(vpc).await {
                return Ok(Some(now + SETTLE * 5));
            }
            decided = self.decide(node_eni, &said.listed);
            due = kept.due(&decided, now);
        }
        if !due.is_empty() {
            self.tell_routes(node_eni, &mut said, &decided, None, kept)
                .await?;
            for change in &due {
                self.change_route(node_eni, change, kept).await;
            }
            decided = self.decide(node_eni, &said.listed);
        }
        let changes = decided.changes.iter();
        let holds = changes.filter_map(|change| kept.hold(change, now));
        let first = holds.min_by_key(|hold| hold.until).cloned();
        self.tell_routes(node_eni, &mut said, &decided, first.as_ref(), kept)
            .await?;
        let soon = !due.is_empty() || (first.is_none() && !decided.changes.is_empty());
        let soon = soon.then(|| now + SETTLE);
        let later = decided.unclear.then(|| now + SETTLE * 5);
        Ok(soon.or(later).or(first.map(|hold| hold.until)))
    }

    fn decide(&self, node_eni: &NodeEni, listed: &[RouteStatus]) -> Routes {
        let uid = node_eni.uid().unwrap_or_default();
        let records: Vec<_> = {
            let cache = self.cache();
            let records = cache.records.values();
            let of = records.filter(|record| record.spec.node_eni.uid == uid);
            of.map(Arc::clone).collect()
        };
        let snapshot = self.snapshot();
        routes(Inputs {
            node_eni,
            records: &records,
            snapshot: &snapshot,
            tables: snapshot.tables().unwrap_or_default(),
            listed,
        })
    }

    async fn change_route(&self, node_eni: &NodeEni, change: &RouteChange, kept: &mut Kept) {
        if !self.may_act() {
            return;
        }
        let key = (change.table.clone(), change.destination);
        self.snapshot_mut().routing(change, self.now());
        let result = self.ec2.route(change).await;
        let action = match change.deed {
            RouteDeed::Create(_) => "CreateRoute",
            RouteDeed::Replace(_) => "ReplaceRoute",
            RouteDeed::Delete => "DeleteRoute",
        };
        self.metrics.acted(action, result.is_ok());
        let (reason, note) = match result {
            Ok(()) => {
                info!(%change, "Applied");
                kept.held.remove(&key);
                self.snapshot_mut().routed(change, self.now());
                ("RouteChanged", change.to_string())
            }
            Err(error) if error.verdict() == Verdict::AlreadyDone => {
                return self.snapshot_mut().routed(change, self.now());
            }
            Err(error) => {
                let (now, verdict) = (self.now(), error.verdict());
                warn!(%change, error = %Chain(&error), ?verdict, "Action failed");
                let jitter = self.jitter(change.table.as_str(), now);
                let memory = kept.held.entry(key).or_default();
                let until = now + memory.backoff(verdict, jitter);
                memory.hold = Some(Hold {
                    until,
                    verdict,
                    reason: why(verdict, &error),
                    message: format!("{change}: {error}"),
                    generation: 0,
                });
                ("RouteChangeFailed", format!("{change}: {error}"))
            }
        };
        self.notify(Notice {
            node_eni: reference(node_eni),
            record: None,
            warning: reason == "RouteChangeFailed",
            reason,
            action,
            note,
        });
    }

    /// Writes what is listed and said, if it is new.
    async fn tell_routes(
        &self,
        node_eni: &NodeEni,
        said: &mut Said,
        decided: &Routes,
        hold: Option<&Hold>,
        kept: &mut Kept,
    ) -> Result<(), Error> {
        let words = words(decided, hold, wanted(node_eni).len());
        let condition = words.map(|(ready, reason, message)| {
            condition(
                said.condition.as_slice(),
                ROUTES_READY,
                ready,
                reason,
                message,
                node_eni.metadata.generation,
                self.wall(),
            )
        });
        let new = Said {
            listed: decided.listed.clone(),
            condition,
        };
        let uid = node_eni.uid().unwrap_or_default();
        if new == *said && !kept.unsure.contains(&uid) {
            return Ok(());
        }
        // Until it is answered, what was written before stands: nothing is done that was not written down. What
        // a former leader wrote is known by the watch, which may be behind: then EC2 is not touched either.
        let as_seen = !kept.written.contains_key(&uid);
        kept.unsure.insert(uid.clone());
        debug!(node_eni = node_eni.name_any(), listed = ?new.listed, "Telling of routes");
        self.kubernetes
            .report_routes(node_eni, &new.listed, new.condition.as_ref(), as_seen)
            .await?;
        let bad = |said: &Said| {
            let bad = said.condition.clone().filter(|one| one.status == "False");
            bad.filter(|one| one.reason != reason::PROGRESSING)
        };
        if let Some(trouble) = bad(&new)
            && bad(said).is_none_or(|old| old.message != trouble.message)
        {
            let reason = decided.troubles.first().map(|one| one.reason);
            self.notify(Notice {
                node_eni: reference(node_eni),
                record: None,
                warning: true,
                reason: reason.unwrap_or("RouteChangeFailed"),
                action: "KeepRoutes",
                note: trouble.message,
            });
        }
        *said = new.clone();
        kept.unsure.remove(&uid);
        kept.written.insert(uid, new);
        Ok(())
    }
}

/// What the condition says; `None` where there is nothing to say.
fn words(
    decided: &Routes,
    hold: Option<&Hold>,
    wanted: usize,
) -> Option<(bool, &'static str, String)> {
    let listed = |all: Vec<String>| {
        let more = all.len().saturating_sub(NAMED);
        let named = all.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
        if more == 0 {
            named
        } else {
            format!("{named} (and {more} more)")
        }
    };
    let troubles: Vec<_> = decided.troubles.iter().map(ToString::to_string).collect();
    let changes: Vec<_> = decided.changes.iter().map(ToString::to_string).collect();
    match (hold, decided.troubles.first()) {
        (Some(hold), _) => Some((false, hold.reason, hold.message.clone())),
        (None, Some(first)) => Some((false, first.reason, listed(troubles))),
        (None, None) if !changes.is_empty() => Some((false, reason::PROGRESSING, listed(changes))),
        (None, None) if wanted == 0 => None,
        (None, None) => {
            let message = format!("{wanted} routes lead to ready interfaces");
            Some((true, reason::READY, message))
        }
    }
}

fn reference(node_eni: &NodeEni) -> NodeEniRef {
    NodeEniRef {
        name: node_eni.name_any(),
        uid: node_eni.uid().unwrap_or_default(),
    }
}
