//! Pools, who holds their members, and who waits for one.

use std::{collections::BTreeSet, sync::Arc};

use eniway_api::{EniPool, InstanceId, NodeEniAttachment, PoolPlace};
use kube::ResourceExt as _;

use super::{Cache, Promised, named};
use crate::{
    desired::{Holder, Pools},
    kubernetes::Change,
};

impl Cache {
    pub(crate) fn take_pool(&mut self, change: Change<Arc<EniPool>>) -> Vec<Arc<EniPool>> {
        self.pools.take(named(change, |pool| pool.name_any()))
    }

    /// The pools, and who holds what, records not written yet included; but for those of the node at
    /// hand, which decides anew.
    pub(crate) fn pools(&mut self, cluster_uid: &str, node: &str) -> Pools {
        self.members.retain(|_, promised| promised.node != node);
        let mut pools = Pools {
            cluster_uid: cluster_uid.to_owned(),
            ..Pools::default()
        };
        for record in self.records_of_pools() {
            if let Some(place) = &record.spec.pool {
                pools
                    .holders
                    .entry(place.eni_id.clone())
                    .or_default()
                    .push(Holder {
                        record: record.name_any(),
                        pool: place.name.clone(),
                        uid: record.uid(),
                    });
            }
        }
        for (record, promised) in &self.members {
            pools
                .holders
                .entry(promised.eni.clone())
                .or_default()
                .push(Holder {
                    record: record.clone(),
                    pool: promised.pool.clone(),
                    uid: None,
                });
        }
        let others = self.waiting.iter().filter(|(name, _)| *name != node);
        pools.wanted = others.flat_map(|(_, wanted)| wanted).cloned().collect();
        let declared = self.pools.objects().iter();
        pools.declared = declared
            .map(|(n, pool)| (n.clone(), Arc::clone(pool)))
            .collect();
        pools
    }

    /// The records that hold a member, by name.
    fn records_of_pools(&mut self) -> Vec<Arc<NodeEniAttachment>> {
        let records = &self.records;
        self.of_pools.retain(|name| records.get(name).is_some());
        let records = self.of_pools.iter().filter_map(|name| records.get(name));
        records.cloned().collect()
    }

    /// Keeps a member for a record of the node that will be written.
    pub(crate) fn promise_member(&mut self, node: &str, record: String, place: &PoolPlace) {
        let promised = Promised {
            node: node.to_owned(),
            pool: place.name.clone(),
            eni: place.eni_id.clone(),
        };
        self.members.insert(record, promised);
    }

    /// What the node waits for now: pools and zones. True if it did not wait for one of them before.
    pub(crate) fn wait(&mut self, node: &str, wanted: BTreeSet<(String, String)>) -> bool {
        let before = self.waiting.get(node);
        let newly = !before.map_or(wanted.is_empty(), |before| wanted.is_subset(before));
        if wanted.is_empty() {
            self.waiting.remove(node);
        } else {
            self.waiting.insert(node.to_owned(), wanted);
        }
        newly
    }

    /// The nodes that wait for a member of the pool.
    pub(crate) fn waiting_for(&self, pool: &str) -> Vec<String> {
        let waits =
            |wanted: &BTreeSet<(String, String)>| wanted.iter().any(|(name, _)| name == pool);
        let nodes = self.waiting.iter().filter(|(_, wanted)| waits(wanted));
        nodes.map(|(node, _)| node.clone()).collect()
    }

    /// The nodes that hold a member of the pool, with their instances.
    pub(crate) fn holders_of(&mut self, pool: &str) -> Vec<(String, InstanceId)> {
        let records = self.records_of_pools().into_iter();
        let holds = |record: &Arc<NodeEniAttachment>| {
            let place = record.spec.pool.as_ref();
            place.is_some_and(|place| place.name == pool)
        };
        let holders = records.filter(holds);
        holders
            .map(|record| {
                (
                    record.spec.node_name.clone(),
                    record.spec.instance_id.clone(),
                )
            })
            .collect()
    }
}
