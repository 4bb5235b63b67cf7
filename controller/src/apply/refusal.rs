//! What follows from EC2's refusal of a call, for one record alone.

use eniway_api::conditions::reason;
use eniway_ec2::{Error as Ec2Error, Verdict};
use tracing::warn;

use super::{Chain, Outcome};
use crate::{
    action::{Action, Look, Target},
    controller::Controller,
    memory::{Creation, Hold},
    pace::Pace,
};

/// After so many refusals in a row the whole read of each minute shows what there is to see.
const LOOKS: u32 = 3;

impl Controller {
    /// Draws the conclusions from a refusal, for this record alone.
    pub(super) fn refused(&self, action: &Action, on: &Target, error: &Ec2Error) -> Outcome {
        let verdict = error.verdict();
        let now = self.now();
        if verdict == Verdict::AlreadyDone {
            // So EC2 says; a look by ID confirms it before anything follows from it.
            if let Action::Detach { eni, .. } | Action::Delete { eni, .. } = action {
                self.snapshot_mut().forget(eni, self.now());
                self.remember(&on.uid, |memory| memory.pace = Pace::default());
            }
            self.tell(action, on, Some(error));
            return Outcome::Done;
        }
        let makes = matches!(action, Action::Create { .. });
        if verdict == Verdict::Replan && (makes || self.failures(&on.uid) < LOOKS) {
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

    /// How often in a row EC2 has refused something of the record.
    fn failures(&self, uid: &str) -> u32 {
        self.memories().get(uid).map_or(0, |memory| memory.failures)
    }

    fn look_again(&self, action: &Action, on: &Target, error: &Ec2Error) {
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
            Action::Assign { eni, .. } => {
                self.looks.add(Look::Catalog);
                self.looks.add(Look::Eni(eni.clone(), on.uid.clone()));
            }
            Action::Associate { eni, address, .. } => {
                let exists = error.code() != Some("InvalidAllocationID.NotFound");
                self.snapshot_mut().elastic_ips.not_given(address, exists);
                self.looks.add(Look::ElasticIps);
                self.looks.add(Look::Eni(eni.clone(), on.uid.clone()));
            }
            Action::Unassign { eni, .. }
            | Action::Disassociate { eni, .. }
            | Action::Modify { eni, .. }
            | Action::Tag { eni, .. }
            | Action::Untag { eni, .. }
            | Action::Detach { eni, .. }
            | Action::Delete { eni, .. } => {
                self.looks.add(Look::Eni(eni.clone(), on.uid.clone()));
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
    }
}

/// The reason of a condition for a refusal.
pub(super) fn why(verdict: Verdict, error: &Ec2Error) -> &'static str {
    match (verdict, error.code().unwrap_or_default()) {
        (_, "AttachmentLimitExceeded") => reason::INSTANCE_LIMIT_REACHED,
        (_, "InsufficientFreeAddressesInSubnet" | "InsufficientCidrBlocks") => reason::SUBNET_FULL,
        (_, "InvalidIPAddress.InUse" | "Resource.AlreadyAssigned") => reason::ADDRESS_TAKEN,
        (_, "PrivateIpAddressLimitExceeded" | "Ipv6AddressLimitExceeded") => {
            reason::ADDRESS_LIMIT_REACHED
        }
        (_, "Resource.AlreadyAssociated") => reason::NO_FREE_ELASTIC_IP,
        (_, "InvalidAllocationID.NotFound") => reason::ELASTIC_IP_NOT_FOUND,
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
