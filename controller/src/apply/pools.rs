//! Keeps the pools: makes and deletes members, says how full they are, and wakes who waits for one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use eniway_api::{EniId, EniPool, EniPoolStatus, PoolMember, conditions::reason};
use eniway_ec2::{NewEni, Verdict};
use futures::future::join_all;
use kube::ResourceExt as _;
use tracing::{debug, info, warn};

use super::Chain;
use crate::{
    action::{Action, Look, Target},
    controller::Controller,
    memory::{Hold, Memory},
    plan::{Now, marks_of_holder},
    pool::{Situation, Step, Upkeep, upkeep},
};

/// What is remembered of one pool, and may be forgotten.
#[derive(Default)]
struct Kept {
    /// The spec whose members were read.
    read: Option<i64>,
    creations: BTreeMap<PoolMember, Memory>,
    last_creation: Option<Instant>,
    /// Members with a mark whose record is gone, and when a whole read first showed them.
    stale: BTreeMap<EniId, Instant>,
    /// The version whose finalizers were changed: the watch shows the next one soon.
    patched: Option<String>,
    /// When the status was last written.
    written: Option<Instant>,
}

impl Controller {
    /// Keeps pools as they become due. Never ends.
    pub(crate) async fn keep_pools(&self) {
        let mut all: BTreeMap<String, Kept> = BTreeMap::new();
        loop {
            let name = self.pools.next().await;
            let pool = self.cache().pools.get(&name).map(Arc::clone);
            let again = match pool {
                Some(pool) => {
                    let kept = all.entry(pool.uid().unwrap_or_default()).or_default();
                    self.keep_pool(&pool, kept).await
                }
                None => {
                    let cache = self.cache();
                    let uids: BTreeSet<_> = cache.pools.values().filter_map(|p| p.uid()).collect();
                    all.retain(|uid, _| uids.contains(uid));
                    self.metrics.pool(&name, &[]);
                    None
                }
            };
            self.pools.done(name, again);
        }
    }

    async fn keep_pool(&self, pool: &EniPool, kept: &mut Kept) -> Option<Instant> {
        let now = self.now();
        let again = Some(now + Duration::from_secs(2));
        // The whole read makes every pool due once there is enough to decide by.
        if !self.may_decide() {
            return None;
        }
        if kept.read != pool.metadata.generation {
            if let Err(error) = self.read_pool(pool).await {
                warn!(error = %Chain(&error), "Pool was not read, trying again");
                return again;
            }
            kept.read = pool.metadata.generation;
        }
        let Some(mut upkeep) = self.think_of_pool(pool, kept) else {
            return again;
        };
        self.metrics.pool(&pool.name_any(), &upkeep.status.zones);
        let patched = kept.patched.is_some() && kept.patched == pool.resource_version();
        let told = |step: &Step| patched && matches!(step, Step::Finalizer(_));
        upkeep.steps.retain(|step| !told(step));
        if !self.may_act() {
            return None;
        }
        let steps = upkeep.steps.iter().map(|step| self.step(pool, step));
        let outcomes = join_all(steps).await;
        let (mut changed, mut failed) = (false, None);
        for (step, outcome) in upkeep.steps.iter().zip(outcomes) {
            let now = self.now();
            if let Step::Create(member, _) = step {
                kept.last_creation = Some(now);
                let memory = kept.creations.entry(member.clone()).or_default();
                match outcome {
                    Ok(()) => memory.succeeded(now),
                    Err(ref refusal) => self.hold(memory, member, refusal),
                }
            }
            match outcome {
                Ok(()) if matches!(step, Step::Finalizer(_)) => {
                    kept.patched = pool.resource_version();
                }
                Ok(()) => changed = true,
                Err(_) => failed = Some(now + Duration::from_secs(1)),
            }
        }
        self.take_stale_marks_off(&upkeep, kept).await;
        if changed {
            self.pool_due(&pool.name_any());
        }
        let again = match self.report_pool(pool, &upkeep.status, kept).await {
            Ok(due) => due,
            Err(error) if error.is_outdated() => Some(now + Duration::from_millis(200)),
            Err(error) => {
                warn!(error = %Chain(&error), "Status was not written, trying again");
                again
            }
        };
        [upkeep.wake, again, failed].into_iter().flatten().min()
    }

    fn think_of_pool(&self, pool: &EniPool, kept: &Kept) -> Option<Upkeep> {
        let vpc = self.vpc()?;
        let creations = kept.creations.iter();
        let holds = creations
            .filter_map(|(member, memory)| Some((member.clone(), memory.hold.clone()?)))
            .collect();
        let now = Now {
            monotonic: self.now(),
            wall: self.wall(),
        };
        // The lock under which members are promised: none is deleted that a node gets meanwhile.
        let mut cache = self.cache();
        let pools = cache.pools(&self.cluster.uid, "");
        let since = self.leadership.borrow().since.unwrap_or(now.monotonic);
        Some(upkeep(Situation {
            pool,
            pools: &pools,
            snapshot: &self.snapshot(),
            vpc: &vpc,
            cluster: &self.cluster,
            holds: &holds,
            last_creation: kept.last_creation.unwrap_or(since),
            grace: self.config.timing.grace,
            now,
        }))
    }

    async fn step(&self, pool: &EniPool, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::Finalizer(wanted) => self
                .kubernetes
                .set_pool_finalizer(pool, *wanted)
                .await
                .map_err(|error| Refusal {
                    outdated: error.is_outdated(),
                    ..Refusal::new(step, Verdict::Transient, &error)
                }),
            Step::Create(_, new) => self.create_member(step, new).await,
            Step::Delete(eni) => match self.ec2.delete(eni).await {
                Ok(()) => {
                    self.snapshot_mut().deleted(eni, self.now());
                    Ok(())
                }
                Err(error) => {
                    if error.verdict() == Verdict::AlreadyDone {
                        self.snapshot_mut().forget(eni, self.now());
                    }
                    Err(Refusal::new(step, error.verdict(), &error))
                }
            },
        }
        .inspect(|()| info!(pool = pool.name_any(), %step, "Applied"))
        .inspect_err(|refusal| {
            let (pool, error) = (pool.name_any(), &refusal.message);
            if refusal.outdated {
                debug!(pool, error, "Pool has changed");
            } else {
                warn!(pool, error, "Action failed");
            }
        })
    }

    async fn create_member(&self, step: &Step, new: &NewEni) -> Result<(), Refusal> {
        match self.ec2.create(new).await {
            Ok(eni) => {
                self.snapshot_mut().created(eni, self.now());
                Ok(())
            }
            Err(error) => Err(Refusal::new(step, error.verdict(), &error)),
        }
    }

    fn hold(&self, memory: &mut Memory, member: &PoolMember, refusal: &Refusal) {
        let now = self.now();
        let pause = memory.backoff(
            refusal.verdict,
            self.jitter(&member.address.0.to_string(), now),
        );
        memory.hold = Some(Hold {
            until: now + pause,
            verdict: refusal.verdict,
            reason: reason::MEMBER_NOT_CREATED,
            message: refusal.message.clone(),
            generation: 0,
        });
    }

    /// Marks whose records are gone hide a free member from other clusters. Two whole reads must have
    /// shown them, and the API server knows no such record.
    async fn take_stale_marks_off(&self, upkeep: &Upkeep, kept: &mut Kept) {
        let whole = self.snapshot().whole;
        kept.stale.retain(|eni, _| upkeep.stale.contains(eni));
        let mut twice = Vec::new();
        for eni in &upkeep.stale {
            let since = kept.stale.entry(eni.clone());
            let since = *since.or_insert(whole.unwrap_or_else(|| self.now()));
            if whole.is_some_and(|whole| whole > since) {
                twice.push(eni);
            }
        }
        if twice.is_empty() {
            return;
        }
        let Ok(uids) = self.kubernetes.record_uids().await else {
            return;
        };
        for eni in twice {
            let known = self.snapshot().eni(eni).cloned();
            let stale = known.filter(|eni| eni.record().is_none_or(|uid| !uids.contains(uid)));
            let held = self
                .cache()
                .pools(&self.cluster.uid, "")
                .holders
                .contains_key(eni);
            let Some(stale) = stale.filter(|_| !held && self.may_act()) else {
                continue;
            };
            let keys = marks_of_holder(&stale);
            // A read since then may have shown it without them.
            if keys.is_empty() {
                continue;
            }
            match self.ec2.untag(eni, &keys).await {
                Ok(()) => {
                    info!(%eni, "Took marks off whose record is gone");
                    self.snapshot_mut().untagged(eni, &keys, self.now());
                }
                Err(error) => warn!(%eni, error = %Chain(&error), "Marks were not taken off"),
            }
        }
    }

    async fn report_pool(
        &self,
        pool: &EniPool,
        status: &EniPoolStatus,
        kept: &mut Kept,
    ) -> Result<Option<Instant>, crate::kubernetes::Error> {
        let leaves = pool.metadata.deletion_timestamp.is_some();
        if (leaves && kept.patched == pool.resource_version())
            || pool.status.as_ref() == Some(status)
        {
            return Ok(None);
        }
        let now = self.now();
        let due = kept.written.map(|at| at + self.config.timing.status);
        if let Some(due) = due.filter(|due| *due > now) {
            return Ok(Some(due));
        }
        self.kubernetes.report_pool(pool, status).await?;
        kept.written = Some(now);
        Ok(None)
    }

    /// Something changed in the pool: its status is due, and so are the nodes that wait for a member.
    pub(crate) fn pool_due(&self, pool: &str) {
        let now = self.now();
        self.pools.add(pool.to_owned(), now);
        let waiting = self.cache().waiting_for(pool);
        for node in waiting {
            self.nodes.add(node, now);
        }
    }

    /// A node waits for members of these pools from now on: who holds one may have none to run.
    pub(crate) fn holders_due<I: AsRef<str>>(&self, pools: impl IntoIterator<Item = I>) {
        let now = self.now();
        for pool in pools {
            let pool = pool.as_ref();
            let holders = self.cache().holders_of(pool);
            for (node, instance) in holders {
                debug!(pool, node, %instance, "Asked whether it still needs its member");
                self.looks.add(Look::Instance(instance));
                self.nodes.add(node, now);
            }
        }
    }

    /// What a call leaves in doubt.
    pub(super) fn doubt(&self, action: &Action, on: &Target, answered: bool) {
        let now = self.now();
        let tagged = matches!(action, Action::Tag { .. });
        let attached = matches!(action, Action::Attach { .. });
        self.remember(&on.uid, |memory| {
            if tagged || !answered {
                memory.doubted = Some(now);
            }
            if attached {
                memory.attaching = Some(now);
            }
        });
    }
}

struct Refusal {
    verdict: Verdict,
    /// The object was changed meanwhile.
    outdated: bool,
    message: String,
}

impl Refusal {
    fn new(step: &Step, verdict: Verdict, error: &dyn std::error::Error) -> Self {
        Self {
            verdict,
            outdated: false,
            message: format!("{step}: {}", Chain(error)),
        }
    }
}
