//! Looks at EC2: whole reads by the clock, and looks on request that share one read.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eniway_api::{EniId, InstanceId, VpcId};
use eniway_ec2::{Error, InstanceType, Instances, Interfaces, MAX_FILTER_VALUES, Verdict};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::{action::Look, apply::Chain, controller::Controller, desired::Node};

/// Requests that wait for the next shared read.
pub(crate) struct Looks {
    wanted: Mutex<BTreeSet<Look>>,
    changed: Notify,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self {
            wanted: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<Look>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, look: Look) {
        if self.wanted().insert(look) {
            self.changed.notify_one();
        }
    }

    /// The requests, once none came for `idle` (at most ten times that after the first).
    async fn gather(&self, idle: Duration) -> BTreeSet<Look> {
        while self.wanted().is_empty() {
            self.changed.notified().await;
        }
        let latest = tokio::time::Instant::now() + idle * 10;
        loop {
            let quiet = tokio::time::Instant::now() + idle;
            tokio::select! {
                () = tokio::time::sleep_until(quiet.min(latest)) => break,
                () = self.changed.notified() => {}
            }
        }
        std::mem::take(&mut *self.wanted())
    }
}

impl Controller {
    /// Reads everything each minute while this process leads. Never ends.
    pub(crate) async fn read_by_the_clock(&self) {
        let mut leadership = self.leadership.subscribe();
        let mut cycle = 0_u32;
        loop {
            while !self.leadership.borrow().may_act(self.now()) || !self.cache().is_whole() {
                tokio::select! {
                    _ = leadership.changed() => {}
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
            let period = self.config.timing.whole_read;
            let pause = match self.read_all(cycle).await {
                Ok(true) => {
                    cycle = cycle.wrapping_add(1);
                    period.mul_f64(1.0 + 0.1 * self.jitter("whole", self.now()))
                }
                // No node tells the network yet.
                Ok(false) => Duration::from_secs(1),
                Err(error) => {
                    warn!(error = %Chain(&error), "EC2 was not read, trying again");
                    let seconds = match error.verdict() {
                        Verdict::Denied | Verdict::Invalid => 30.0,
                        _ => 2.0,
                    };
                    Duration::from_secs_f64(seconds).min(period)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One whole read; `false` while the network is unknown.
    async fn read_all(&self, cycle: u32) -> Result<bool, Error> {
        let Some(vpc) = self.find_vpc().await? else {
            return Ok(false);
        };
        let begun = self.now();
        let (of_cluster, of_vpc) = (
            Interfaces::OfCluster(self.cluster.uid.clone()),
            Instances::Of(vpc.clone()),
        );
        let (enis, instances) = tokio::try_join!(
            self.ec2.interfaces(&of_cluster),
            self.ec2.instances(&of_vpc)
        )?;
        let catalog = self.snapshot().catalog;
        if catalog.is_none() {
            self.read_catalog(&vpc, true, true).await?;
        } else {
            // Subnets in one cycle and groups in another: a quiet minute has three calls at most.
            let every = self.config.timing.catalog.as_secs_f64()
                / self.config.timing.whole_read.as_secs_f64().max(0.001);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a small positive number of cycles; a cast saturates"
            )]
            let every = (every as u32).max(2);
            self.read_catalog(&vpc, cycle.is_multiple_of(every), cycle % every == 1)
                .await?;
        }
        let mut snapshot = self.snapshot_mut();
        snapshot.read_all_enis(enis, begun);
        snapshot.read_all_instances(instances, begun);
        let first = snapshot.whole.is_none();
        snapshot.whole = Some(begun);
        drop(snapshot);
        self.publish_gauges();
        if first {
            info!(%vpc, "Read EC2");
        }
        self.all_nodes_due();
        Ok(true)
    }

    async fn read_catalog(&self, vpc: &VpcId, subnets: bool, groups: bool) -> Result<(), Error> {
        let begun = self.now();
        if subnets {
            let read = self.ec2.subnets(vpc).await?;
            self.snapshot_mut().subnets = read
                .into_iter()
                .map(|subnet| (subnet.id.clone(), subnet))
                .collect();
        }
        if groups {
            let read = self.ec2.groups(vpc).await?;
            self.snapshot_mut().groups = read;
        }
        if subnets && groups {
            self.snapshot_mut().catalog = Some(begun);
        }
        Ok(())
    }

    /// The network of the nodes' instances, or the one that was given.
    async fn find_vpc(&self) -> Result<Option<VpcId>, Error> {
        if let Some(vpc) = self.vpc() {
            return Ok(Some(vpc));
        }
        let some: Vec<_> = {
            let cache = self.cache();
            let ids = cache.nodes.values().filter_map(Node::instance);
            ids.take(MAX_FILTER_VALUES).cloned().collect()
        };
        if some.is_empty() {
            return Ok(None);
        }
        let instances = self.ec2.instances(&Instances::These(some)).await?;
        let vpc = instances.into_iter().find_map(|instance| instance.vpc);
        if let Some(vpc) = &vpc {
            info!(%vpc, "Found the cluster's network");
        }
        *self.vpc.lock().unwrap_or_else(PoisonError::into_inner) = vpc.clone();
        Ok(vpc)
    }

    /// Answers looks, many at a time. Never ends.
    pub(crate) async fn look_on_request(&self) {
        loop {
            let looks = self.looks.gather(self.config.timing.gather).await;
            if !self.may_decide() {
                continue;
            }
            if let Err(error) = self.look(&looks).await {
                warn!(error = %Chain(&error), "EC2 was not looked at, trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                for look in looks {
                    self.looks.add(look);
                }
            }
        }
    }

    async fn look(&self, looks: &BTreeSet<Look>) -> Result<(), Error> {
        let mut enis = BTreeSet::new();
        let mut uids = BTreeSet::new();
        let mut searches = Vec::new();
        let mut instances = BTreeSet::new();
        let mut types = Vec::new();
        let mut catalog = false;
        for look in looks {
            match look {
                Look::Eni(id, uid) => {
                    enis.insert(id.clone());
                    uids.insert(uid.clone());
                }
                Look::Record(uid) => searches.push(uid.clone()),
                Look::Instance(id) => {
                    instances.insert(id.clone());
                }
                Look::InstanceType(name) => types.push(name.clone()),
                Look::Catalog => catalog = true,
            }
        }
        let begun = self.now();
        self.look_at_enis(enis.into_iter().collect(), begun).await?;
        for searches in searches.chunks(MAX_FILTER_VALUES) {
            let begun = self.now();
            let found = self
                .ec2
                .interfaces(&Interfaces::OfRecords(searches.to_vec()))
                .await?;
            self.snapshot_mut().read_enis(found, begun);
            for uid in searches {
                self.remember(uid, |memory| memory.searched = Some(begun));
            }
        }
        let instances: Vec<_> = instances.into_iter().collect();
        for ids in instances.chunks(MAX_FILTER_VALUES) {
            let begun = self.now();
            let found = self.ec2.instances(&Instances::These(ids.to_vec())).await?;
            self.snapshot_mut().read_instances(ids, found, begun);
        }
        if !types.is_empty() {
            self.look_at_types(&types).await?;
        }
        let fresh = self
            .snapshot()
            .catalog
            .is_some_and(|at| self.now() < at + self.config.timing.catalog_on_request);
        catalog &= !fresh;
        if catalog && let Some(vpc) = self.vpc() {
            self.read_catalog(&vpc, true, true).await?;
        }
        let begun_at = self.now();
        for uid in uids.iter().chain(&searches) {
            self.remember(uid, |memory| memory.pace.looked(begun_at));
        }
        for id in &instances {
            let mut paces = self.paces();
            paces.entry(id.clone()).or_default().looked(begun_at);
        }
        uids.extend(searches);
        self.seen(&uids, &instances, !types.is_empty() || catalog);
        Ok(())
    }

    /// By ID while they are few; many are read as all of ours, 1,000 on a page.
    async fn look_at_enis(&self, enis: Vec<EniId>, begun: Instant) -> Result<(), Error> {
        if enis.len() > MAX_FILTER_VALUES {
            let all = Interfaces::OfCluster(self.cluster.uid.clone());
            let found = self.ec2.interfaces(&all).await?;
            let present: BTreeSet<_> = found.iter().map(|eni| eni.id.clone()).collect();
            self.snapshot_mut().read_enis(found, begun);
            // What the tag does not show is asked for by ID: only that says that it is gone.
            let absent: Vec<_> = enis
                .into_iter()
                .filter(|id| !present.contains(id))
                .collect();
            return self.look_by_id(&absent).await;
        }
        self.look_by_id(&enis).await
    }

    async fn look_by_id(&self, enis: &[EniId]) -> Result<(), Error> {
        for ids in enis.chunks(MAX_FILTER_VALUES) {
            let begun = self.now();
            let found = self
                .ec2
                .interfaces(&Interfaces::These(ids.to_vec()))
                .await?;
            self.snapshot_mut().confirm(ids, found, begun);
        }
        Ok(())
    }

    /// A type that EC2 does not tell about gets no limit of ours; EC2 judges it then.
    async fn look_at_types(&self, names: &[String]) -> Result<(), Error> {
        let found = match self.ec2.instance_types(names).await {
            Ok(found) => found,
            Err(error) if matches!(error.verdict(), Verdict::Throttled | Verdict::Transient) => {
                return Err(error);
            }
            Err(error) => {
                warn!(error = %Chain(&error), "Limits of instance types are unknown");
                Vec::new()
            }
        };
        let mut snapshot = self.snapshot_mut();
        for name in names {
            let known = found.iter().find(|info| info.name == *name).cloned();
            let known = known.unwrap_or_else(|| InstanceType {
                name: name.clone(),
                interfaces: u16::MAX,
                cards: vec![u16::MAX],
            });
            snapshot.types.insert(name.clone(), known);
        }
        Ok(())
    }

    /// The nodes that a read concerns are due.
    fn seen(&self, uids: &BTreeSet<String>, instances: &[InstanceId], all: bool) {
        if all {
            return self.all_nodes_due();
        }
        let names: BTreeSet<_> = {
            let cache = self.cache();
            let by_record = cache
                .records
                .values()
                .filter(|record| {
                    let uid = record.metadata.uid.as_ref();
                    uid.is_some_and(|uid| uids.contains(uid))
                        || instances.contains(&record.spec.instance_id)
                })
                .map(|record| record.spec.node_name.clone());
            let by_instance = cache
                .nodes
                .values()
                .filter(|node| node.instance().is_some_and(|id| instances.contains(id)))
                .map(|node| node.name.clone());
            by_record.chain(by_instance).collect()
        };
        let now = self.now();
        for name in names {
            self.nodes.add(name, now);
        }
    }

    fn publish_gauges(&self) {
        let snapshot = self.snapshot();
        let mut states = std::collections::BTreeMap::new();
        for eni in snapshot.enis() {
            let state = eni
                .attachment
                .as_ref()
                .map_or_else(|| "Available".to_owned(), |a| format!("{:?}", a.state));
            *states.entry(state).or_insert(0) += 1;
        }
        for state in ["Available", "Attaching", "Attached", "Detaching"] {
            self.metrics
                .interfaces
                .get_or_create(&vec![("state", state.to_owned())])
                .set(states.get(state).copied().unwrap_or(0));
        }
        let used: BTreeSet<_> = snapshot.enis().map(|eni| &eni.subnet).collect();
        for subnet in used.into_iter().filter_map(|id| snapshot.subnets.get(id)) {
            self.metrics
                .subnet_free
                .get_or_create(&vec![("subnet", subnet.id.to_string())])
                .set(i64::from(subnet.free_addresses));
        }
    }
}
