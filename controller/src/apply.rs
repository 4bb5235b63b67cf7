//! Carries actions out: the one place that changes anything.

mod addresses;
mod elastic_ips;
mod node;
mod notice;
mod orphans;
mod pools;
mod refusal;
mod routes;

use std::time::Instant;

use eniway_ec2::Error as Ec2Error;
use tracing::{Instrument as _, debug, info, info_span, warn};

use self::notice::kind;
use crate::{
    action::{Action, Target},
    controller::Controller,
    elastic_ips::claimed,
    kubernetes,
    memory::Creation,
};

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done: look what is next.
    Done,
    /// Refused: the record is held, others go on.
    Held,
    /// The API server refused: try the node again, later.
    Failed,
}

impl Controller {
    pub(crate) async fn apply(&self, action: &Action) -> Outcome {
        if !self.may_act() {
            return Outcome::Failed;
        }
        let outcome = match action {
            Action::Look(look) => {
                self.looks.add(look.clone());
                return Outcome::Held;
            }
            Action::WriteRecord { .. }
            | Action::ChangeRecord { .. }
            | Action::DeleteRecord { .. }
            | Action::Report { .. }
            | Action::DropFinalizer { .. } => self.write(action).await,
            Action::LabelNode { .. }
            | Action::AnnotateNode { .. }
            | Action::Taint { .. }
            | Action::Untaint { .. } => self.mark_node(action).await,
            Action::Create { on, .. }
            | Action::Attach { on, .. }
            | Action::Modify { on, .. }
            | Action::Tag { on, .. }
            | Action::Untag { on, .. }
            | Action::Assign { on, .. }
            | Action::Unassign { on, .. }
            | Action::Associate { on, .. }
            | Action::Disassociate { on, .. }
            | Action::Detach { on, .. }
            | Action::Delete { on, .. } => self.call(action, on).await,
        };
        self.metrics.acted(kind(action), outcome == Outcome::Done);
        outcome
    }

    async fn write(&self, action: &Action) -> Outcome {
        match self.try_write(action).await {
            Ok(()) => {
                if matches!(action, Action::Report { .. }) {
                    debug!(%action, "Applied");
                } else {
                    info!(%action, "Applied");
                }
                Outcome::Done
            }
            Err(error) if error.is_outdated() => {
                debug!(%action, error = %Chain(&error), "Object has changed");
                Outcome::Failed
            }
            Err(error) => {
                warn!(%action, error = %Chain(&error), "Action failed");
                Outcome::Failed
            }
        }
    }

    async fn try_write(&self, action: &Action) -> Result<(), kubernetes::Error> {
        match action {
            Action::WriteRecord { name, spec } => {
                let result = self.kubernetes.write_record(name, spec).await;
                if let Err(error) = &result {
                    self.cache().unwritten(name, error.is_refusal());
                }
                let (record, is_new) = result?;
                if is_new {
                    let uid = record.metadata.uid.clone().unwrap_or_default();
                    self.memories().insert(uid, crate::memory::Memory::fresh());
                }
                self.wrote(record);
            }
            Action::ChangeRecord { name, spec } => {
                if let Some(record) = self.record(name) {
                    let record = self.kubernetes.change_record(&record, spec).await?;
                    self.wrote(record);
                }
            }
            Action::DeleteRecord { name, why } => {
                if let Some(record) = self.record(name)
                    && let Some(marked) = self.kubernetes.delete_record(&record).await?
                {
                    self.wrote(marked);
                    self.tell_deletion(&record, *why);
                }
            }
            Action::Report { name, ec2, ready } => {
                if let Some(old) = self.record(name) {
                    let record = self.kubernetes.report(&old, ec2, ready).await?;
                    self.noted(&old, ec2);
                    if claimed(&old).is_some() && ec2.elastic_ip.is_none() {
                        self.elastic_ips_freed();
                    }
                    let known = old.status.as_ref().and_then(|status| status.ec2.as_ref());
                    if ec2.attempt > known.map_or(0, |known| known.attempt) {
                        // The attempt is written down: its creation is ours to try.
                        let uid = record.metadata.uid.clone().unwrap_or_default();
                        self.remember(&uid, |memory| memory.creation = Creation::Untried);
                    }
                    self.wrote(record);
                }
            }
            Action::DropFinalizer { name } => {
                if let Some(record) = self.record(name) {
                    self.kubernetes.drop_finalizer(&record).await?;
                    let uid = record.metadata.uid.clone().unwrap_or_default();
                    self.memories().remove(&uid);
                }
            }
            Action::Create { .. }
            | Action::Attach { .. }
            | Action::Modify { .. }
            | Action::Tag { .. }
            | Action::Untag { .. }
            | Action::Assign { .. }
            | Action::Unassign { .. }
            | Action::Associate { .. }
            | Action::Disassociate { .. }
            | Action::Detach { .. }
            | Action::Delete { .. }
            | Action::LabelNode { .. }
            | Action::AnnotateNode { .. }
            | Action::Taint { .. }
            | Action::Untaint { .. }
            | Action::Look(_) => {}
        }
        Ok(())
    }

    async fn call(&self, action: &Action, on: &Target) -> Outcome {
        let now = self.now();
        match action {
            Action::Create { .. } => self.remember(&on.uid, |memory| {
                memory.creation = Creation::Unanswered(now);
            }),
            // An adoption, which gives the record an interface as a creation does.
            Action::Tag { .. } => self.remember(&on.uid, |memory| {
                memory.marking = Some(now);
                if memory.creation == Creation::Untried {
                    memory.creation = Creation::Unanswered(now);
                }
            }),
            _ => {}
        }
        // With this, what EC2 answered says whom it served.
        let served = info_span!("for", record = on.record, node_eni = on.node_eni.name);
        let result = self.try_call(action, on).instrument(served).await;
        self.doubt(action, on, result.is_ok());
        match result {
            Ok(()) => {
                let now = self.now();
                self.remember(&on.uid, |memory| memory.succeeded(now));
                debug!(%action, "Applied");
                self.tell(action, on, None);
                Outcome::Done
            }
            Err(error) => self.refused(action, on, &error),
        }
    }

    async fn try_call(&self, action: &Action, on: &Target) -> Result<(), Ec2Error> {
        match action {
            Action::Create { new, .. } => {
                let eni = self.create(on, new).await?;
                let id = eni.id.clone();
                self.snapshot_mut().created(eni, self.now());
                self.remember(&on.uid, |memory| memory.creation = Creation::Answered(id));
            }
            Action::Attach { new, .. } => {
                let id = self.ec2.attach(new).await?;
                self.snapshot_mut().attached(new, id, self.now());
            }
            Action::Modify { eni, change, .. } => {
                self.ec2.modify(eni, change).await?;
                self.snapshot_mut().modified(eni, change, self.now());
            }
            Action::Tag { eni, tags, .. } => {
                self.ec2.tag(eni, tags).await?;
                self.snapshot_mut().tagged(eni, tags.clone(), self.now());
            }
            Action::Untag { eni, keys, .. } => {
                self.ec2.untag(eni, keys).await?;
                self.snapshot_mut().untagged(eni, keys, self.now());
            }
            Action::Assign { eni, asked, .. } => self.assign(on, eni, asked).await?,
            Action::Unassign { eni, entries, .. } => {
                self.ec2.unassign(eni, entries).await?;
                self.snapshot_mut().unassigned(eni, entries, self.now());
            }
            Action::Associate { eni, address, .. } => self.associate(eni, address).await?,
            Action::Disassociate {
                eni, association, ..
            } => self.disassociate(eni, association).await?,
            Action::Detach {
                eni,
                attachment,
                force,
                ..
            } => {
                self.ec2.detach(attachment, *force).await?;
                let now = self.now();
                self.snapshot_mut().detaching(eni, now);
                self.remember(&on.uid, |memory| {
                    memory.detaching_since.get_or_insert(now);
                    memory.forced |= *force;
                });
            }
            Action::Delete { eni, .. } => {
                self.ec2.delete(eni).await?;
                self.snapshot_mut().deleted(eni, self.now());
            }
            Action::WriteRecord { .. }
            | Action::ChangeRecord { .. }
            | Action::DeleteRecord { .. }
            | Action::Report { .. }
            | Action::DropFinalizer { .. }
            | Action::LabelNode { .. }
            | Action::AnnotateNode { .. }
            | Action::Taint { .. }
            | Action::Untaint { .. }
            | Action::Look(_) => {}
        }
        Ok(())
    }
}

/// An error with its causes, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// For the queue: when a node whose write failed is tried again.
pub(crate) fn soon(now: Instant) -> Instant {
    now + std::time::Duration::from_millis(500)
}
