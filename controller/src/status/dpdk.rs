//! The condition that answers a wish for DPDK, or for devices that pods can ask for.

use eniway_api::{
    AttachmentSummary, NodeEniAttachment, NodePhase, NodeStatus,
    conditions::{DPDK, reason},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{condition, node_eni::Situation};

/// What the nodes say of the devices.
struct Tally<'a> {
    /// Records that stay.
    wanted: usize,
    bound: usize,
    /// Of these, without an IOMMU.
    without_iommu: usize,
    offered: usize,
    /// The first node with something to say, and what.
    word: Option<(&'a str, &'a str)>,
}

pub(super) fn dpdk(situation: Situation<'_>, old: &[Condition]) -> Option<Condition> {
    let spec = &situation.node_eni.spec;
    let resource = spec.dpdk_resource_name.as_deref();
    if !spec.wants_dpdk() && resource.is_none() {
        return None;
    }
    let tally = tally(situation);
    let (is_done, reason, mut message) = match (spec.wants_dpdk(), resource) {
        (true, _) => bound(&tally),
        (false, resource) => offered(&tally, resource.unwrap_or_default()),
    };
    if let Some((node, word)) = tally.word {
        message = format!("{message}; node {node}: {word}");
    }
    Some(condition(
        old,
        DPDK,
        is_done,
        reason,
        message,
        situation.node_eni.metadata.generation,
        situation.now,
    ))
}

fn tally(situation: Situation<'_>) -> Tally<'_> {
    let records = situation.records.iter();
    let records = records.filter(|record| record.metadata.deletion_timestamp.is_none());
    let mut tally = Tally {
        wanted: 0,
        bound: 0,
        without_iommu: 0,
        offered: 0,
        word: None,
    };
    for record in records {
        tally.wanted += 1;
        let Some(node) = node(record) else { continue };
        let dpdk = node.dpdk.as_ref();
        let is_bound = node.phase == NodePhase::Vfio;
        tally.bound += usize::from(is_bound);
        tally.without_iommu += usize::from(is_bound && dpdk.is_some_and(|it| it.no_iommu));
        tally.offered += usize::from(dpdk.is_some_and(|it| it.resource_name.is_some()));
        let missing = dpdk.and_then(|dpdk| dpdk.missing.first());
        let word = node.message.as_ref().or(missing);
        let word = word.map(|word| (record.spec.node_name.as_str(), word.as_str()));
        tally.word = tally.word.or(word);
    }
    tally
}

fn node(record: &NodeEniAttachment) -> Option<&NodeStatus> {
    record.status.as_ref()?.node.as_ref()
}

fn bound(tally: &Tally<'_>) -> (bool, &'static str, String) {
    let Tally { wanted, bound, .. } = *tally;
    let is_done = wanted > 0 && bound == wanted;
    let message = format!("{bound} of {wanted} devices are bound to a driver for DPDK");
    match (tally.without_iommu, is_done) {
        (0, true) => (true, reason::BOUND, message),
        (0, false) => (false, reason::NOT_BOUND, message),
        (count, _) => (
            is_done,
            reason::BOUND_WITHOUT_IOMMU,
            format!(
                "{message}, {count} of them without an IOMMU: a program that has such a device can read and write all \
                 memory of its node"
            ),
        ),
    }
}

fn offered(tally: &Tally<'_>, resource: &str) -> (bool, &'static str, String) {
    let Tally {
        wanted, offered, ..
    } = *tally;
    let message = format!("{offered} of {wanted} interfaces are offered to pods as {resource}");
    if wanted > 0 && offered == wanted {
        return (true, reason::OFFERED, message);
    }
    let hint = match tally.word {
        Some(_) => "",
        None => "; agents offer them with agent.devicePlugin.enabled: true in the chart",
    };
    (false, reason::NOT_OFFERED, format!("{message}{hint}"))
}

/// What the list says of an interface's device.
pub(super) fn listed(record: &NodeEniAttachment) -> AttachmentSummary {
    let is_asked = record.spec.dpdk.as_ref().is_some_and(|dpdk| dpdk.bind);
    let status = record.status.as_ref();
    let node = status.and_then(|status| status.node.as_ref());
    let bound = node.filter(|node| node.phase == NodePhase::Vfio);
    let offered = node.and_then(|node| node.dpdk.as_ref());
    AttachmentSummary {
        dpdk_bound: is_asked.then_some(bound.is_some()),
        dpdk_driver: bound.and_then(|node| node.driver.clone()),
        dpdk_resource_name: offered.and_then(|dpdk| dpdk.resource_name.clone()),
        dpdk_pci_address: bound.and_then(|node| node.pci_address.clone()),
        ..AttachmentSummary::default()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use eniway_api::{DpdkStatus, NodeEni, NodeEniAttachmentSpec};
    use jiff::Timestamp;

    use super::*;

    /// A device that an agent speaks of.
    fn record(phase: NodePhase, dpdk: DpdkStatus, message: Option<&str>) -> Arc<NodeEniAttachment> {
        let spec = NodeEniAttachmentSpec {
            node_name: "node1".to_owned(),
            ..NodeEniAttachmentSpec::default()
        };
        let mut record = NodeEniAttachment::new("record", spec);
        record.status.get_or_insert_default().node = Some(NodeStatus {
            phase,
            message: message.map(str::to_owned),
            dpdk: Some(dpdk),
            ..NodeStatus::default()
        });
        Arc::new(record)
    }

    #[track_caller]
    fn check(bind: bool, records: &[Arc<NodeEniAttachment>], expected: (&str, &str, &str)) {
        let mut node_eni = NodeEni::default();
        node_eni.spec.enable_dpdk = Some(bind);
        node_eni.spec.dpdk_resource_name = Some("example.com/fast".to_owned());
        let said = dpdk(
            Situation {
                node_eni: &node_eni,
                nodes: &BTreeMap::new(),
                records,
                other_controller: false,
                foreign: &[],
                now: Timestamp::UNIX_EPOCH,
            },
            &[],
        );
        let said = said.unwrap();
        assert_eq!((&*said.status, &*said.reason, &*said.message), expected);
    }

    fn offered(no_iommu: bool) -> DpdkStatus {
        DpdkStatus {
            resource_name: Some("example.com/fast".to_owned()),
            no_iommu,
            ..DpdkStatus::default()
        }
    }

    #[test]
    fn devices_that_are_bound_are_counted_and_one_without_an_iommu_is_warned_of() {
        let good = record(NodePhase::Vfio, offered(false), None);
        let all = [Arc::clone(&good), good];
        let done = "2 of 2 devices are bound to a driver for DPDK";
        check(true, &all, ("True", "Bound", done));
        let unsafe_one = record(NodePhase::Vfio, offered(true), None);
        let waits = record(NodePhase::Failed, DpdkStatus::default(), Some("no driver"));
        check(
            true,
            &[unsafe_one, waits],
            (
                "False",
                "BoundWithoutIOMMU",
                "1 of 2 devices are bound to a driver for DPDK, 1 of them without an IOMMU: a program that has such a \
                 device can read and write all memory of its node; node node1: no driver",
            ),
        );
        let none = "0 of 0 devices are bound to a driver for DPDK";
        check(true, &[], ("False", "NotBound", none));
    }

    #[test]
    fn interfaces_that_pods_can_ask_for_are_counted() {
        let good = record(NodePhase::Ready, offered(false), None);
        let not = record(NodePhase::Ready, DpdkStatus::default(), None);
        let done = "1 of 1 interfaces are offered to pods as example.com/fast";
        check(false, &[good], ("True", "Offered", done));
        check(
            false,
            &[not],
            (
                "False",
                "NotOffered",
                "0 of 1 interfaces are offered to pods as example.com/fast; agents offer them with \
                 agent.devicePlugin.enabled: true in the chart",
            ),
        );
    }
}
