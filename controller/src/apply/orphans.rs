//! Deletes interfaces that no record owns any more, once two whole reads of EC2 have shown them.

use std::collections::BTreeSet;

use eniway_api::{EniId, mark};
use eniway_ec2::Verdict;
use kube::ResourceExt as _;
use tracing::{info, warn};

use super::Chain;
use crate::{
    config::Orphans,
    controller::Controller,
    gc::{Deed, deeds, is_orphan, is_unowned},
};

impl Controller {
    /// To be called after each whole read.
    pub(crate) async fn collect_orphans(&self) {
        if !self.may_act() {
            return;
        }
        let known: BTreeSet<_> = {
            let cache = self.cache();
            let uids = cache.records.values().filter_map(|record| record.uid());
            uids.collect()
        };
        self.tell_attached(&known);
        let orphans = self.orphans(&known);
        self.metrics.orphans("Available", orphans.len());
        if self.config.orphans == Orphans::Report {
            self.dry_run(&known);
            self.suspects().take(orphans);
            return;
        }
        let twice = self.suspects().take(orphans);
        if twice.is_empty() {
            return;
        }
        // A watch may be behind. EC2 was read before, and a record is older than its interface: the
        // API server's word counts now.
        let owned = match self.kubernetes.record_uids().await {
            Ok(owned) => owned,
            Err(error) => {
                return warn!(error = %Chain(&error), "Orphans are left for the next read");
            }
        };
        let orphans = self.orphans(&owned);
        for eni in twice.iter().filter(|eni| orphans.contains(*eni)) {
            if self.may_act() {
                self.delete_orphan(eni).await;
            }
        }
    }

    /// Lists all, with what would be done: once, and again when that changes.
    fn dry_run(&self, owned: &BTreeSet<String>) {
        let now = self.wall();
        let snapshot = self.snapshot();
        let mut suspects = self.suspects();
        let all: Vec<_> = snapshot.enis().collect();
        let deeds = deeds(&all, &suspects, &self.cluster.uid, owned, now);
        for deed in Deed::ALL {
            let count = deeds.values().filter(|one| **one == deed).count();
            self.metrics.orphans_dry_run(deed.as_str(), count);
        }
        for (id, deed) in &deeds {
            let Some(eni) = snapshot.eni(id).filter(|_| suspects.is_news(id, *deed)) else {
                continue;
            };
            let tag = |key| eni.tags.get(key).unwrap_or_default();
            let attachment = eni.attachment.as_ref();
            warn!(
                eni = %id,
                deed = deed.as_str(),
                subnet = %eni.subnet,
                instance = attachment.map_or("", |one| one.instance.as_str()),
                device_index = attachment.map(|one| one.device_index),
                created_at = tag(mark::TAG_CREATED_AT),
                record = tag(mark::TAG_ATTACHMENT),
                "Dry run: no record owns the interface"
            );
        }
        suspects.tell(deeds);
    }

    /// Those that are still attached are for people to judge.
    fn tell_attached(&self, owned: &BTreeSet<String>) {
        let now = self.wall();
        let snapshot = self.snapshot();
        let attached: Vec<_> = snapshot
            .enis()
            .filter(|eni| eni.attachment.is_some())
            .filter(|eni| is_unowned(eni, &self.cluster.uid, owned, now))
            .map(|eni| eni.id.to_string())
            .collect();
        self.metrics.orphans("Attached", attached.len());
        if !attached.is_empty() {
            warn!(
                interfaces = attached.join(" "),
                "Attached, and no record owns them: detach them by hand once nothing uses them"
            );
        }
    }

    fn orphans(&self, owned: &BTreeSet<String>) -> BTreeSet<EniId> {
        let now = self.wall();
        let snapshot = self.snapshot();
        let orphans = snapshot
            .enis()
            .filter(|eni| is_orphan(eni, &self.cluster.uid, owned, now));
        orphans.map(|eni| eni.id.clone()).collect()
    }

    async fn delete_orphan(&self, eni: &EniId) {
        match self.ec2.delete(eni).await {
            Ok(()) => {
                info!(%eni, "Deleted an interface that no record owns");
                self.snapshot_mut().deleted(eni, self.now());
            }
            Err(error) => {
                if error.verdict() == Verdict::AlreadyDone {
                    self.snapshot_mut().forget(eni, self.now());
                }
                warn!(%eni, error = %Chain(&error), "Orphan was not deleted");
            }
        }
    }
}
