//! Deletes interfaces that no record owns any more, once two whole reads of EC2 have shown them.

use std::collections::BTreeSet;

use eniway_api::EniId;
use eniway_ec2::Verdict;
use kube::ResourceExt as _;
use tracing::{info, warn};

use super::Chain;
use crate::{
    config::Orphans,
    controller::Controller,
    gc::{is_orphan, is_unowned},
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
            if self.config.orphans == Orphans::Report {
                warn!(%eni, "No record owns the interface; orphans are only reported");
            } else if self.may_act() {
                self.delete_orphan(eni).await;
            }
        }
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
                    self.snapshot_mut().forget(eni);
                }
                warn!(%eni, error = %Chain(&error), "Orphan was not deleted");
            }
        }
    }
}
