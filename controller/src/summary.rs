//! Writes what became of each NodeENI, and keeps its finalizer while records of it exist.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use eniway_api::{
    AttachmentSummary, EniId, NodeEni, NodeEniAttachment, NodeEniRef, NodeEniStatus,
    conditions::{ROUTES_READY, UNCLAIMED, reason},
    mark,
};
use eniway_ec2::Snapshot;
use kube::ResourceExt as _;
use tracing::{debug, info, warn};

use crate::{
    apply::Chain,
    controller::Controller,
    desired::Declared,
    kubernetes::Notice,
    status::{Situation, node_eni},
};

/// How long a list of `entries` stays as it was written: every change rewrites all of it, which costs
/// the API server 0.1 s at 1,000 entries. A small list follows at once.
fn list_pause(entries: usize) -> Duration {
    const EACH: Duration = Duration::from_millis(5);
    EACH.saturating_mul(u32::try_from(entries).unwrap_or(u32::MAX))
}

/// What was written, by NodeENI.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// When the status may be written again.
    status: BTreeMap<String, Instant>,
    /// When the list was written last.
    list: BTreeMap<String, Instant>,
}

impl Controller {
    /// Writes statuses as they become due. Never ends.
    pub(crate) async fn summarize(&self) {
        let mut written = Written::default();
        loop {
            let name = self.node_enis.next().await;
            let again = self.summarize_one(&name, &mut written).await;
            self.node_enis.done(name, again);
        }
    }

    async fn summarize_one(&self, name: &str, written: &mut Written) -> Option<Instant> {
        let now = self.now();
        if !self.may_decide() {
            return None;
        }
        if let Some(due) = written.status.get(name)
            && now < *due
        {
            return Some(*due);
        }
        let declared = self.cache().node_enis.get(name).cloned();
        let Some(Declared::Readable(node_eni)) = declared else {
            written.status.remove(name);
            written.list.remove(name);
            return None;
        };
        self.routes.add(name.to_owned(), now);
        match self.write_summary(&node_eni, written, now).await {
            Ok(again) => again,
            Err(error) if error.is_outdated() => {
                debug!(error = %Chain(&error), "NodeENI has changed");
                Some(now + Duration::from_millis(200))
            }
            Err(error) => {
                warn!(error = %Chain(&error), "Status was not written, trying again");
                Some(now + Duration::from_secs(2))
            }
        }
    }

    async fn write_summary(
        &self,
        object: &NodeEni,
        written: &mut Written,
        now: Instant,
    ) -> Result<Option<Instant>, crate::kubernetes::Error> {
        let name = object.name_any();
        let uid = object.uid().unwrap_or_default();
        let other_controller = self.other_controller.load(Ordering::Relaxed);
        let records: Vec<_> = self
            .cache()
            .records
            .values()
            .filter(|record| record.spec.node_eni.uid == uid)
            .map(Arc::clone)
            .collect();
        let ours = is_ours(object);
        let deleting = object.metadata.deletion_timestamp.is_some();
        let routed = object.status.as_ref();
        let routed = routed.is_some_and(|status| status.routes.iter().any(|one| one.created));
        if !other_controller && deleting && records.is_empty() && routed {
            // The routes that we made go first.
            return Ok(None);
        }
        if !other_controller && deleting && records.is_empty() {
            if ours {
                self.tell_left(object);
                self.kubernetes
                    .set_node_eni_finalizer(object, false)
                    .await?;
                info!(node_eni = name, "Let the NodeENI go");
            }
            self.tallies().remove(&uid);
            return Ok(None);
        }
        if !other_controller && !deleting && !ours {
            self.kubernetes.set_node_eni_finalizer(object, true).await?;
        }
        let nodes = self.tallies().get(&uid).cloned().unwrap_or_default();
        let foreign = foreign(object, &records, &self.snapshot());
        let mut status = node_eni(Situation {
            node_eni: object,
            nodes: &nodes,
            records: &records,
            other_controller,
            foreign: &foreign,
            now: self.wall(),
        });
        let mut old = object.status.clone().unwrap_or_default();
        // What is said of routes has a writer of its own.
        old.routes.clear();
        old.conditions.retain(|one| one.type_ != ROUTES_READY);
        let mut again = None;
        if other_controller {
            // The list is J's while J is at work.
            status.attachments.clear();
            status.attachments_truncated = false;
            if same_words(&old, &status) {
                return Ok(None);
            }
        } else {
            let pause = list_pause(old.attachments.len().max(status.attachments.len()));
            let due = written.list.get(&name).map(|last| *last + pause);
            if status.attachments != old.attachments {
                match due {
                    Some(due) if now < due => {
                        status.attachments.clone_from(&old.attachments);
                        status.attachments_truncated = old.attachments_truncated;
                        again = Some(due);
                    }
                    _ => {
                        written.list.insert(name.clone(), now);
                    }
                }
            }
            if status == old {
                return Ok(again);
            }
        }
        self.kubernetes.report_node_eni(object, &status).await?;
        let reference = NodeEniRef {
            name: name.clone(),
            uid,
        };
        if let Some(message) = held(&status)
            && held(&old).is_none()
        {
            self.notify(Notice {
                node_eni: reference.clone(),
                record: None,
                warning: true,
                reason: reason::MASS_RELEASE_HELD,
                action: "Release",
                note: message.to_owned(),
            });
        }
        if let Some(message) = named(&status)
            && named(&old) != Some(message)
        {
            self.notify(Notice {
                node_eni: reference.clone(),
                record: None,
                warning: true,
                reason: reason::ADOPTION_REQUIRED,
                action: "Adopt",
                note: message.to_owned(),
            });
        }
        if let Some(message) = unsafe_devices(&status)
            && unsafe_devices(&old).is_none()
        {
            self.notify(Notice {
                node_eni: reference.clone(),
                record: None,
                warning: true,
                reason: reason::BOUND_WITHOUT_IOMMU,
                action: "Bind",
                note: message.to_owned(),
            });
        }
        // The counts of a small NodeENI follow at once, too.
        let pause = list_pause(nodes.len().max(status.attachments.len()));
        written
            .status
            .insert(name, now + pause.min(self.config.timing.status));
        Ok(again)
    }
}

impl Controller {
    /// A NodeENI goes, and interfaces of J that it lists were never ours.
    fn tell_left(&self, object: &NodeEni) {
        let left = foreign(object, &[], &self.snapshot());
        let ids: Vec<_> = left.iter().filter_map(|one| one.eni_id.as_ref()).collect();
        let Some(first) = ids.first() else { return };
        let names: Vec<_> = ids.iter().take(10).map(ToString::to_string).collect();
        let names = names.join(", ");
        warn!(node_eni = object.name_any(), %names, "Interfaces of nodeeni-controller are left");
        self.notify(Notice {
            node_eni: NodeEniRef {
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
            },
            record: None,
            warning: true,
            reason: reason::ADOPTION_REQUIRED,
            action: "Release",
            note: format!(
                "the NodeENI goes before these were adopted, and they stay attached: {names} ({} in \
                 all). To remove one: aws ec2 describe-network-interfaces \
                 --network-interface-ids {first} tells its attachment; detach and delete it",
                ids.len()
            ),
        });
    }
}

/// Whether the NodeENI waits for us before it goes.
pub(crate) fn is_ours(object: &NodeEni) -> bool {
    let mut finalizers = object.finalizers().iter();
    finalizers.any(|finalizer| finalizer == mark::FINALIZER_NODE_ENI)
}

/// Listed interfaces that are on an instance and no record's: J's, which stay listed.
fn foreign(
    object: &NodeEni,
    records: &[Arc<NodeEniAttachment>],
    snapshot: &Snapshot,
) -> Vec<AttachmentSummary> {
    let Some(status) = &object.status else {
        return Vec::new();
    };
    let recorded = |id: &EniId| {
        records.iter().any(|record| {
            let status = record.status.as_ref();
            let ec2 = status.and_then(|status| status.ec2.as_ref());
            ec2.is_some_and(|ec2| ec2.eni_id.as_ref() == Some(id))
        })
    };
    let there = |id: &EniId| {
        let mut instances = snapshot.instances();
        let on = instances.any(|one| one.interfaces.iter().any(|place| place.eni == *id));
        let left = snapshot.eni(id).is_some_and(|eni| eni.attachment.is_none());
        on && !left && !snapshot.is_gone(id)
    };
    let entries = status.attachments.iter();
    entries
        .filter(|entry| {
            let id = entry.eni_id.as_ref();
            id.is_some_and(|id| !recorded(id) && there(id))
        })
        .cloned()
        .collect()
}

/// Why a mass release waits, if one does.
fn held(status: &NodeEniStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter();
    let held = conditions.find(|one| one.reason == reason::MASS_RELEASE_HELD);
    held.map(|one| one.message.as_str())
}

/// What is said of devices that no IOMMU keeps from the memory of their nodes, if there are any.
fn unsafe_devices(status: &NodeEniStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|one| one.reason == reason::BOUND_WITHOUT_IOMMU);
    found.map(|one| one.message.as_str())
}

/// What is said of J's interfaces that nobody asks for, if there are any.
fn named(status: &NodeEniStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|one| one.type_ == UNCLAIMED);
    found.map(|one| one.message.as_str())
}

fn same_words(old: &NodeEniStatus, new: &NodeEniStatus) -> bool {
    old.conditions == new.conditions && old.observed_generation == new.observed_generation
}
