//! Says what became of a record and of a NodeENI.
//!
//! Pure: what is said follows from what is observed, and saying the same twice gives the same words.

mod dpdk;
mod max_pods;
mod node_eni;

use eniway_api::{
    DeviceIndex, Ec2State, Ec2Status, ElasticIpClaim, NodeEniAttachment, NodePhase,
    conditions::{READY, reason},
};
use eniway_ec2::{AttachmentState, Eni, Subnet};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use self::node_eni::{NodeTally, Situation, attached, node_eni, ready};
use crate::plan::Note;

/// What EC2 says of the record's interface.
#[must_use]
pub fn ec2(record: &NodeEniAttachment, eni: Option<&Eni>, subnet: Option<&Subnet>) -> Ec2Status {
    let old = record
        .status
        .as_ref()
        .and_then(|status| status.ec2.clone())
        .unwrap_or_default();
    let Some(eni) = eni else {
        // Not in sight is not gone: what was recorded stays until EC2 says so by ID.
        return old;
    };
    let attachment = eni.attachment.as_ref();
    Ec2Status {
        state: match attachment.map(|attachment| attachment.state) {
            None | Some(AttachmentState::Detached) => Ec2State::Available,
            Some(AttachmentState::Attaching) => Ec2State::Attaching,
            Some(AttachmentState::Attached) => Ec2State::Attached,
            Some(AttachmentState::Detaching) => Ec2State::Detaching,
        },
        attempt: old.attempt,
        eni_id: Some(eni.id.clone()),
        attachment_id: attachment.map(|attachment| attachment.id.clone()),
        mac_address: Some(eni.mac),
        device_index: attachment.map(|attachment| DeviceIndex(attachment.device_index)),
        network_card_index: attachment.map(|attachment| attachment.network_card_index),
        // One that EC2 does not tell of is what we asked for, as long as it is attached.
        ena_queue_count: attachment
            .and_then(|attachment| attachment.ena_queue_count.or(old.ena_queue_count)),
        subnet_cidrs: subnet.map_or(old.subnet_cidrs, |subnet| subnet.cidrs.clone()),
        addresses: eni.addresses.clone(),
        prefixes: eni.prefixes.clone(),
        assigned: old.assigned,
        assigning: old.assigning,
        public_ip: eni.association.as_ref().map(|one| one.public_ip),
        elastic_ip: old.elastic_ip.map(|claim| shown(claim, eni)),
    }
}

/// The Elastic IP that is ours, with its association once the interface shows it.
fn shown(mut claim: ElasticIpClaim, eni: &Eni) -> ElasticIpClaim {
    if let Some(there) = &eni.association
        && there.allocation.as_ref() == Some(&claim.allocation_id)
    {
        claim.association_id.clone_from(&there.id);
    }
    claim
}

/// The status of a record whose interface is gone, and whose next creation is another attempt.
#[must_use]
pub fn next_attempt(record: &NodeEniAttachment) -> Ec2Status {
    let old = record
        .status
        .as_ref()
        .and_then(|status| status.ec2.as_ref());
    Ec2Status {
        attempt: old.map_or(0, |ec2| ec2.attempt) + 1,
        // The next one gets the same: with the interface its association ended.
        elastic_ip: old
            .and_then(|ec2| ec2.elastic_ip.clone())
            .map(|claim| ElasticIpClaim {
                association_id: None,
                ..claim
            }),
        ..Ec2Status::default()
    }
}

/// The condition `Ready` of a record.
pub(crate) fn record_ready(
    record: &NodeEniAttachment,
    ec2: &Ec2Status,
    note: Option<Note>,
    now: Timestamp,
) -> Condition {
    let status = record.status.as_ref();
    let node = status.and_then(|status| status.node.as_ref());
    let (ready, reason, message) = match (note, node) {
        (Some(note), _) => (false, note.reason, note.message),
        (None, _) if ec2.state != Ec2State::Attached => {
            (false, reason::PROGRESSING, format!("{:?}", ec2.state))
        }
        (None, None) => (
            false,
            reason::AGENT_SILENT,
            "attached; the node's agent has not answered yet".to_owned(),
        ),
        (None, Some(node)) => match node.phase {
            NodePhase::Ready | NodePhase::InPod => {
                let name = node.interface_name.as_deref().unwrap_or("in a pod");
                (true, reason::READY, format!("attached; {name}"))
            }
            NodePhase::Vfio => {
                let driver = node.driver.as_deref().unwrap_or("a driver for DPDK");
                let address = node.pci_address.as_deref().unwrap_or("it");
                let message = format!("attached; {driver} has {address}");
                (true, reason::READY, message)
            }
            NodePhase::Failed => (
                false,
                reason::NODE_FAILED,
                node.message.clone().unwrap_or_default(),
            ),
            NodePhase::Pending
            | NodePhase::Configuring
            | NodePhase::Releasing
            | NodePhase::Released => (
                false,
                reason::PROGRESSING,
                node.message
                    .clone()
                    .unwrap_or_else(|| format!("the node's agent: {:?}", node.phase)),
            ),
        },
    };
    let conditions = status.map(|status| status.conditions.as_slice());
    condition(
        conditions.unwrap_or_default(),
        READY,
        ready,
        reason,
        message,
        record.metadata.generation,
        now,
    )
}

/// A condition whose transition time changes only with its status.
pub(crate) fn condition(
    old: &[Condition],
    type_: &str,
    value: bool,
    reason: &str,
    message: String,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let status = if value { "True" } else { "False" }.to_owned();
    // Seconds, as the API server keeps them; else it would never be equal to what is read back.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let since = old
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    Condition {
        type_: type_.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    }
}
