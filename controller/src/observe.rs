//! Looks at EC2: whole reads by the clock, and looks on request that share one read.

mod elastic_ips;
mod looks;
mod news;
mod pools;
mod requested;
mod tables;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use eniway_api::VpcId;
use eniway_ec2::{Eni, Error, Instances, Interfaces, MAX_FILTER_VALUES, Subnets, Verdict};
use tracing::{info, warn};

pub(crate) use self::looks::Looks;
use crate::{apply::Chain, controller::Controller, desired::Node};

impl Controller {
    /// Reads everything each minute while this process leads. Never ends.
    pub(crate) async fn read_by_the_clock(&self) {
        let mut leadership = self.leadership.subscribe();
        let mut cycle = 0_u32;
        loop {
            loop {
                let leads = self.leadership.borrow().may_act(self.now());
                if leads && self.cache().is_whole() {
                    break;
                }
                if leads {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                } else if leadership.changed().await.is_err() {
                    return;
                }
            }
            let period = self.config.timing.whole_read;
            let pause = match self.read_all(cycle).await {
                Ok(true) => {
                    self.collect_orphans().await;
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
        // Pages as they come: a fleet takes memory.
        let seen = Mutex::new(BTreeSet::new());
        let take = |page: Vec<Eni>| {
            let ids = page.iter().map(|eni| eni.id.clone());
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.extend(ids);
            drop(seen);
            self.snapshot_mut().read_enis(page, begun);
        };
        let ((), instances, selected) = tokio::try_join!(
            self.ec2.interfaces_by_page(&of_cluster, &take),
            self.ec2.instances(&of_vpc),
            self.selected()
        )?;
        take(selected);
        let catalog = self.snapshot().catalog;
        if catalog.is_none() {
            self.read_catalog(&vpc, true, true).await?;
        } else {
            // Subnets in one cycle and groups in another: a quiet minute has three calls at most.
            let every = self.catalog_cycles();
            self.read_catalog(&vpc, cycle.is_multiple_of(every), cycle % every == 1)
                .await?;
        }
        self.read_tables_by_the_clock(&vpc, cycle).await;
        self.read_elastic_ips_by_the_clock(cycle).await;
        let mut snapshot = self.snapshot_mut();
        snapshot.saw_all_enis(
            &seen.into_inner().unwrap_or_else(PoisonError::into_inner),
            begun,
        );
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

    /// How many whole reads go by between two of the catalog, at least one for each part of it.
    fn catalog_cycles(&self) -> u32 {
        let every = self.config.timing.catalog.as_secs_f64()
            / self.config.timing.whole_read.as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number of cycles; a cast saturates"
        )]
        let every = every as u32;
        every.max(3)
    }

    async fn read_catalog(&self, vpc: &VpcId, subnets: bool, groups: bool) -> Result<(), Error> {
        let begun = self.now();
        if subnets {
            let read = self.ec2.subnets(&Subnets::Of(vpc.clone())).await?;
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

    /// The network that was given, or that of the nodes' instances; when the last of them has ended, that
    /// of the subnets of the records, which are still to be let go.
    async fn find_vpc(&self) -> Result<Option<VpcId>, Error> {
        if let Some(vpc) = self.vpc() {
            return Ok(Some(vpc));
        }
        let (instances, subnets): (Vec<_>, BTreeSet<_>) = {
            let cache = self.cache();
            let instances = cache.nodes.values().filter_map(Node::instance);
            let subnets = cache.records.values().map(|record| &record.spec.subnet_id);
            (
                instances.take(MAX_FILTER_VALUES).cloned().collect(),
                subnets.take(MAX_FILTER_VALUES).cloned().collect(),
            )
        };
        let mut vpc = None;
        if !instances.is_empty() {
            let found = self.ec2.instances(&Instances::These(instances)).await?;
            vpc = found.into_iter().find_map(|instance| instance.vpc);
        }
        if vpc.is_none() && !subnets.is_empty() {
            let subnets = Subnets::These(subnets.into_iter().collect());
            let found = self.ec2.subnets(&subnets).await?;
            vpc = found.into_iter().map(|subnet| subnet.vpc).next();
        }
        if let Some(vpc) = &vpc {
            info!(%vpc, "Found the cluster's network");
        }
        *self.vpc.lock().unwrap_or_else(PoisonError::into_inner) = vpc.clone();
        Ok(vpc)
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
