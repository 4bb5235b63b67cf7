//! Looks on request: at single things, by their IDs. Only they say that something is gone.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use eniway_api::{EniId, InstanceId};
use eniway_ec2::{
    EnaQueues, Error, InstanceType, Instances, Interfaces, MAX_FILTER_VALUES, Verdict,
    instance_types::built_in,
};
use tracing::warn;

use crate::{action::Look, apply::Chain, controller::Controller};

impl Controller {
    /// Answers looks, many at a time. Never ends.
    pub(crate) async fn look_on_request(&self) {
        loop {
            let timing = &self.config.timing;
            let looks = self.looks.gather(timing.gather, timing.spacing).await;
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
        let (mut catalog, mut elastic_ips) = (false, false);
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
                Look::ElasticIps => elastic_ips = true,
            }
        }
        let begun = self.now();
        self.look_at_enis(enis.into_iter().collect(), begun).await?;
        for uid in &uids {
            self.remember(uid, |memory| memory.asked = Some(begun));
        }
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
        let pause = self.config.timing.catalog_on_request;
        let read = self.snapshot().elastic_ips.read;
        elastic_ips &= read.is_none_or(|at| self.now() >= at + pause);
        if elastic_ips {
            self.read_elastic_ips().await;
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
        let all = !types.is_empty() || catalog || elastic_ips;
        self.seen(&uids, &instances, all);
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

    /// A type that nobody tells about gets no limit of ours; EC2 judges it then.
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
            let known = known.or_else(|| built_in(name).cloned());
            let known = known.unwrap_or_else(|| InstanceType {
                name: name.clone(),
                interfaces: u16::MAX,
                cards: vec![u16::MAX],
                ipv4_addresses: u16::MAX,
                ipv6_addresses: u16::MAX,
                ena_queues: EnaQueues::Unknown,
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
}
