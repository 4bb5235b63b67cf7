//! Says what the kernel shows of a PCI function that DPDK has, should have or gives back, or that pods may ask for.

use eniway_api::{DpdkStatus, NodePhase, NodeStatus};

use super::{Failure, Reason, Situation, explain, missing, settled};
use crate::{
    desired::{
        Desired,
        dpdk::{Binding, DRIVERS, VFIO, is_resource},
    },
    observe::{Interface, Presence},
    pci::Hugepages,
    plan::{
        dpdk::{Obstacle, Shown, is_bound, is_held, misplaced, refusal},
        is_in_use,
    },
};

/// The status of an interface that DPDK's driver should have.
pub(super) fn handed_over(
    situation: &Situation<'_>,
    desired: &Desired,
    binding: &Binding,
) -> NodeStatus {
    let (observed, device) = (&situation.observed, &desired.device);
    let shown = observed.device;
    if is_in_use(observed) {
        let message =
            "pods have the interface, or addresses of it; DPDK gets it when they have ended";
        return explain(NodePhase::Configuring, Reason::InUse, message);
    }
    if let Presence::Present(interface) = observed.presence {
        let refused = refusal(device, binding, interface, shown).map(failure);
        let failure = refused.as_ref().or(situation.failure);
        return NodeStatus {
            interface_name: Some(interface.name.clone()),
            pci_address: interface.pci_address.clone(),
            driver: interface.driver.clone(),
            mtu: Some(interface.mtu),
            ..settled(failure, NodePhase::Configuring)
        };
    }
    let Some(kept) = &shown.kept else {
        return missing(desired, situation.missing);
    };
    let strange = strange_driver(binding, shown);
    let unnamed = unnamed(desired);
    let failure = situation.failure.or(strange.as_ref()).or(unnamed.as_ref());
    let bound = is_bound(binding, observed.presence, shown);
    let phase = match bound {
        true => NodePhase::Vfio,
        false => NodePhase::Configuring,
    };
    NodeStatus {
        interface_name: Some(kept.interface.clone()),
        pci_address: Some(kept.address.clone()),
        driver: shown.function.as_ref().and_then(|it| it.driver.clone()),
        dpdk: match bound {
            true => Some(told(desired, shown)),
            false => away(shown),
        },
        ..settled(failure, phase)
    }
}

/// The status of an interface that the kernel should have again.
pub(super) fn given_back(situation: &Situation<'_>, phase: NodePhase) -> NodeStatus {
    let shown = situation.observed.device;
    let status = match (situation.failure, held(shown)) {
        (Some(failure), _) => explain(phase, failure.reason, &failure.message),
        (None, Some(message)) => explain(phase, Reason::InUse, &message),
        (None, None) => NodeStatus {
            phase,
            ..NodeStatus::default()
        },
    };
    NodeStatus {
        dpdk: away(shown),
        ..status
    }
}

/// What is to be said of a device that a driver for DPDK has, whichever was asked for: until it is back, whoever has it
/// reaches what it reaches.
fn away(shown: &Shown) -> Option<DpdkStatus> {
    shown.kept.as_ref()?;
    let driver = shown.function.as_ref()?.driver.as_deref()?;
    DRIVERS.contains(&driver).then(|| risk(shown))
}

/// What the device can reach.
fn risk(shown: &Shown) -> DpdkStatus {
    let function = shown.function.as_ref();
    let group = function.and_then(|function| function.group.as_ref());
    let is_vfio = function.and_then(|it| it.driver.as_deref()) == Some(VFIO);
    DpdkStatus {
        iommu_group: group.map(|group| group.number),
        no_iommu: !is_vfio || group.is_none_or(|group| group.no_iommu),
        ..DpdkStatus::default()
    }
}

/// Whoever keeps the device from going back.
pub(super) fn held(shown: &Shown) -> Option<String> {
    let is_bound = shown.kept.is_some();
    if shown.holders.is_empty() && !(is_bound && is_held(shown)) {
        return None;
    }
    let who = match shown.holders.as_slice() {
        [] => "a program".to_owned(),
        holders => holders.join(", "),
    };
    let verb = if shown.holders.len() > 1 {
        "have"
    } else {
        "has"
    };
    let function = shown.function.as_ref();
    let device = function.map_or("its device".to_owned(), |it| {
        format!("the device {}", it.address)
    });
    Some(format!(
        "{who} {verb} {device}; it is released when it is let go"
    ))
}

/// Adds what pods may ask for of an interface that stays with the kernel.
pub(super) fn with_device(
    status: NodeStatus,
    situation: &Situation<'_>,
    desired: &Desired,
    interface: Option<&Interface>,
) -> NodeStatus {
    if desired.device.resource.is_none() {
        return status;
    }
    let misplaced = interface.and_then(|interface| misplaced(&desired.device, interface));
    let failure = misplaced
        .map(|message| failure((Obstacle::Address, message)))
        .or_else(|| unnamed(desired));
    match failure.filter(|_| status.reason.is_none()) {
        Some(failure) => NodeStatus {
            phase: NodePhase::Failed,
            reason: Some(failure.reason.as_str().to_owned()),
            message: Some(failure.message),
            ..status
        },
        None => NodeStatus {
            dpdk: Some(told(desired, situation.observed.device)),
            ..status
        },
    }
}

fn told(desired: &Desired, shown: &Shown) -> DpdkStatus {
    let function = shown.function.as_ref();
    let numa_node = function.and_then(|function| function.numa_node);
    let resource = desired.device.resource.clone();
    match &desired.device.binding {
        None => DpdkStatus {
            resource_name: resource.filter(|_| shown.host.offers_devices),
            numa_node,
            ..DpdkStatus::default()
        },
        Some(_) => DpdkStatus {
            resource_name: resource.filter(|_| shown.host.offers_devices),
            write_combining: shown.write_combining,
            numa_node,
            missing: lacks(&shown.hugepages, numa_node),
            ..risk(shown)
        },
    }
}

/// What a pod for DPDK lacks on the node.
fn lacks(hugepages: &[Hugepages], numa_node: Option<u32>) -> Vec<String> {
    let has = |node: Option<u32>| {
        let mut pages = hugepages.iter();
        pages.any(|one| one.total > 0 && node.is_none_or(|node| one.node == node))
    };
    let how = "reserve some (`vm.nr_hugepages`, or `hugepagesz=1G hugepages=N` on the kernel's command line) and restart \
               the kubelet";
    match numa_node {
        _ if !has(None) => vec![format!("the node has no hugepages: {how}")],
        Some(node) if !has(Some(node)) => vec![format!(
            "NUMA node {node}, next to the device, has no hugepages: {how}"
        )],
        Some(_) | None => Vec::new(),
    }
}

/// Somebody gave the function to another driver, or it cannot leave the one that was asked for before.
fn strange_driver(binding: &Binding, shown: &Shown) -> Option<Failure> {
    let (kept, function) = (shown.kept.as_ref()?, shown.function.as_ref()?);
    let driver = function.driver.as_ref()?;
    let is_known = *driver == binding.driver || *driver == kept.driver;
    if !is_known && DRIVERS.contains(&driver.as_str()) {
        return held(shown).map(|message| Failure {
            reason: Reason::InUse,
            message,
        });
    }
    (!is_known).then(|| Failure {
        reason: Reason::DriverUnsuitable,
        message: format!(
            "somebody gave {} to {driver}; take it from there (`echo {} > /sys/bus/pci/drivers/{driver}/unbind`)",
            function.address, function.address
        ),
    })
}

fn unnamed(desired: &Desired) -> Option<Failure> {
    let resource = desired.device.resource.as_ref()?;
    (!is_resource(resource)).then(|| Failure {
        reason: Reason::ResourceNameInvalid,
        message: format!(
            "dpdkResourceName {resource} is no name of a resource, such as example.com/fast; pods cannot ask for it"
        ),
    })
}

fn failure((obstacle, message): (Obstacle, String)) -> Failure {
    let reason = match obstacle {
        Obstacle::Address => Reason::PciAddressMismatch,
        Obstacle::Driver => Reason::DriverUnsuitable,
        Obstacle::InUse => Reason::InUse,
        Obstacle::NoIommu => Reason::NoIommu,
        Obstacle::IommuGroup => Reason::IommuGroupShared,
    };
    Failure { reason, message }
}
