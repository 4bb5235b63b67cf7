//! Carries actions out: the one place that changes anything.

use std::time::Instant;

use eniway_api::conditions::reason;
use eniway_ec2::{Change, Error as Ec2Error, Verdict};
use tracing::{info, warn};

use crate::{
    action::{Action, Target},
    controller::Controller,
    kubernetes::{self, Notice},
    memory::{Creation, Hold},
    pace::Pace,
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
            Action::Create { on, .. }
            | Action::Attach { on, .. }
            | Action::Modify { on, .. }
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
                    tracing::debug!(%action, "Applied");
                } else {
                    info!(%action, "Applied");
                }
                Outcome::Done
            }
            Err(error) if error.is_outdated() => {
                tracing::debug!(%action, error = %Chain(&error), "Object has changed");
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
                if result.is_err() {
                    self.cache().break_promise(name);
                }
                let (record, is_new) = result?;
                if is_new {
                    let uid = record.metadata.uid.clone().unwrap_or_default();
                    self.memories().insert(uid, crate::memory::Memory::fresh());
                }
                self.cache().wrote(record);
            }
            Action::ChangeRecord { name, spec } => {
                if let Some(record) = self.record(name) {
                    let record = self.kubernetes.change_record(&record, spec).await?;
                    self.cache().wrote(record);
                }
            }
            Action::DeleteRecord { name, .. } => {
                if let Some(record) = self.record(name) {
                    self.kubernetes.delete_record(&record).await?;
                }
            }
            Action::Report { name, ec2, ready } => {
                if let Some(record) = self.record(name) {
                    let record = self.kubernetes.report(&record, ec2, ready).await?;
                    if ec2.eni_id.is_none() && ec2.attempt > 0 {
                        // The attempt is written down: its creation is ours to try.
                        let uid = record.metadata.uid.clone().unwrap_or_default();
                        self.remember(&uid, |memory| memory.creation = Creation::Untried);
                    }
                    self.cache().wrote(record);
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
            | Action::Detach { .. }
            | Action::Delete { .. }
            | Action::Look(_) => {}
        }
        Ok(())
    }

    async fn call(&self, action: &Action, on: &Target) -> Outcome {
        if matches!(action, Action::Create { .. }) {
            let now = self.now();
            self.remember(&on.uid, |memory| {
                memory.creation = Creation::Unanswered(now);
            });
        }
        match self.try_call(action, on).await {
            Ok(()) => {
                let now = self.now();
                self.remember(&on.uid, |memory| memory.succeeded(now));
                info!(%action, node = on.node, "Applied");
                self.tell(action, on, None);
                Outcome::Done
            }
            Err(error) => self.refused(action, on, &error),
        }
    }

    async fn try_call(&self, action: &Action, on: &Target) -> Result<(), Ec2Error> {
        match action {
            Action::Create { new, .. } => {
                let eni = self.ec2.create(new).await?;
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
            | Action::Look(_) => {}
        }
        Ok(())
    }

    /// Draws the conclusions from a refusal, for this record alone.
    fn refused(&self, action: &Action, on: &Target, error: &Ec2Error) -> Outcome {
        let verdict = error.verdict();
        let now = self.now();
        if verdict == Verdict::AlreadyDone {
            // So EC2 says; a look by ID confirms it before anything follows from it.
            if let Action::Detach { eni, .. } | Action::Delete { eni, .. } = action {
                self.snapshot_mut().forget(eni);
                self.remember(&on.uid, |memory| memory.pace = Pace::default());
            }
            self.tell(action, on, Some(error));
            return Outcome::Done;
        }
        if verdict == Verdict::Replan {
            // The world is not as we thought: have it looked at before the next try.
            self.look_again(action, on, error);
        }
        let generation = self
            .record(&on.record)
            .and_then(|record| record.metadata.generation)
            .unwrap_or(0);
        let jitter = self.jitter(&on.uid, now);
        let message = format!("{action}: {error}");
        let mut until = now;
        self.remember(&on.uid, |memory| {
            until = now + memory.backoff(verdict, jitter);
            memory.hold = Some(Hold {
                until,
                verdict,
                reason: why(verdict, error),
                message: message.clone(),
                generation,
            });
        });
        warn!(%action, node = on.node, error = %Chain(error), ?verdict, "Action failed");
        self.tell(action, on, Some(error));
        Outcome::Held
    }

    fn look_again(&self, action: &Action, on: &Target, error: &Ec2Error) {
        use crate::action::Look;
        match action {
            Action::Create { new, .. } => {
                if error.code() == Some("IdempotentParameterMismatch") {
                    // The token was used with another spec: what it made bears the record's UID.
                    self.remember(&on.uid, |memory| memory.creation = Creation::Unknown);
                    self.looks.add(Look::Record(on.uid.clone()));
                } else {
                    if let Some(subnet) = self.snapshot_mut().subnets.get_mut(&new.subnet) {
                        subnet.free_addresses = 0;
                    }
                    self.looks.add(Look::Catalog);
                }
            }
            Action::Attach { new, .. } => {
                self.looks.add(Look::Instance(new.instance.clone()));
                self.looks.add(Look::Eni(new.eni.clone(), on.uid.clone()));
            }
            Action::Modify { eni, .. }
            | Action::Detach { eni, .. }
            | Action::Delete { eni, .. } => {
                self.looks.add(Look::Eni(eni.clone(), on.uid.clone()));
            }
            Action::WriteRecord { .. }
            | Action::ChangeRecord { .. }
            | Action::DeleteRecord { .. }
            | Action::Report { .. }
            | Action::DropFinalizer { .. }
            | Action::Look(_) => {}
        }
    }

    /// An event, in J's words.
    fn tell(&self, action: &Action, on: &Target, error: Option<&Ec2Error>) {
        let done = error.is_none();
        let already = error.is_some_and(|error| error.verdict() == Verdict::AlreadyDone);
        let reason = match action {
            Action::Create { .. } if !done => "ENICreationFailed",
            Action::Attach { .. } if done => "ENIAttached",
            Action::Attach { .. } => "ENIAttachmentFailed",
            Action::Modify { .. } if !done => "ENIModificationFailed",
            Action::Detach { force: true, .. } if done => "ENIForceDetached",
            Action::Detach { .. } if done => "ENIDetached",
            Action::Detach { .. } if already => "ENIAttachmentAlreadyRemoved",
            Action::Detach { .. } => "ENIDetachmentFailed",
            Action::Delete { .. } if done => "ENIDeleted",
            Action::Delete { .. } if already => "ENIAlreadyDeleted",
            Action::Delete { .. } => "ENIDeletionFailed",
            _ => return,
        };
        self.notify(Notice {
            node_eni: on.node_eni.clone(),
            record: on.record.clone(),
            warning: !done && !already || matches!(action, Action::Detach { force: true, .. }),
            reason,
            action: kind(action),
            note: match error {
                Some(error) if !already => format!("{action} for node {}: {error}", on.node),
                _ => format!("{action} for node {}", on.node),
            },
        });
    }
}

const fn kind(action: &Action) -> &'static str {
    match action {
        Action::WriteRecord { .. } => "WriteRecord",
        Action::ChangeRecord { .. } => "ChangeRecord",
        Action::DeleteRecord { .. } => "DeleteRecord",
        Action::Report { .. } => "Report",
        Action::DropFinalizer { .. } => "DropFinalizer",
        Action::Create { .. } => "Create",
        Action::Attach { .. } => "Attach",
        Action::Modify { change, .. } => match change {
            Change::DeleteOnTermination(..) => "SetDeleteOnTermination",
            Change::SourceDestCheck(_) => "SetSourceDestCheck",
            Change::Groups(_) => "SetGroups",
            Change::Description(_) => "SetDescription",
        },
        Action::Detach { .. } => "Detach",
        Action::Delete { .. } => "Delete",
        Action::Look(_) => "Look",
    }
}

/// The reason of a condition for a refusal.
fn why(verdict: Verdict, error: &Ec2Error) -> &'static str {
    match (verdict, error.code().unwrap_or_default()) {
        (_, "AttachmentLimitExceeded") => reason::INSTANCE_LIMIT_REACHED,
        (_, "InsufficientFreeAddressesInSubnet" | "InsufficientCidrBlocks") => reason::SUBNET_FULL,
        (_, "IncorrectInstanceState") => reason::INSTANCE_PENDING,
        (_, "InvalidSubnetID.NotFound") => reason::SUBNET_NOT_FOUND,
        (_, "InvalidGroup.NotFound" | "InvalidSecurityGroupID.NotFound") => {
            reason::SECURITY_GROUP_NOT_FOUND
        }
        (Verdict::Throttled, _) => reason::THROTTLED,
        (Verdict::Transient, _) => reason::EC2_UNAVAILABLE,
        (Verdict::Denied, _) => reason::NOT_AUTHORIZED,
        (Verdict::Invalid, _) => reason::INVALID_REQUEST,
        (Verdict::Wait | Verdict::Replan | Verdict::AlreadyDone, _) => reason::PROGRESSING,
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
