//! Looks at the PCI functions of interfaces that DPDK has or should have.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use eniway_api::{EniId, NodeStatus};
use tracing::warn;

use super::{Agent, World};
use crate::{
    apply::{self, Chain},
    bpf::Note,
    desired::{
        Desired, Wish,
        dpdk::{Binding, VFIO},
    },
    devices::{Kind, Offered, host_node},
    observe::{Accept, Interface, Presence},
    pci::Function,
    plan::{
        Action, Found,
        dpdk::{Host, Kept, Shown, Uses, give_back},
    },
};

/// When to look again at a device of which the kernel tells nothing.
pub(super) fn patience(wish: &Wish, shown: &Shown) -> Option<Duration> {
    /// A program lets go of it.
    const HELD: Duration = Duration::from_secs(2);
    /// An administrator loads a driver, stops a program, sets a parameter.
    const REFUSED: Duration = Duration::from_secs(10);
    match wish {
        Wish::Provide(desired) if desired.device.binding.is_some() => Some(REFUSED),
        _ => (shown.kept.is_some() || !shown.holders.is_empty()).then_some(HELD),
    }
}

impl Agent {
    /// The functions that are written down, by ENI.
    pub(super) async fn devices(&self) -> Result<BTreeMap<String, Kept>, apply::Error> {
        let notes = self.kernel.notes(Note::Device).await?.into_iter();
        Ok(notes
            .filter_map(|(eni, text)| Some((eni, Kept::parse(&text)?)))
            .collect())
    }

    /// What there is to know of the interface's PCI function; nothing of one that never leaves the kernel.
    pub(super) async fn device(&self, wish: &Wish, presence: &Presence, world: &World) -> Shown {
        let kept = wish
            .eni()
            .and_then(|eni| world.found.devices.get(eni.as_str()));
        let wanted = match wish {
            Wish::Provide(desired) => Some(&desired.device),
            Wish::Wait | Wish::Release { .. } => None,
        };
        let is_of_pods = wanted.is_some_and(|device| device.resource.is_some());
        let goes = matches!(wish, Wish::Release { .. }) && self.devices.is_some();
        if kept.is_none() && !is_of_pods && !goes {
            return Shown::default();
        }
        let interface = match presence {
            Presence::Present(interface) => Some(interface),
            Presence::Absent | Presence::Ambiguous(_) => None,
        };
        let address = interface
            .and_then(|interface| interface.pci_address.as_ref())
            .or(kept.map(|kept| &kept.address));
        let function = address.and_then(|address| self.kernel.pci().function(address));
        let binding = wanted.and_then(|device| device.binding.as_ref());
        let uses = match interface.filter(|_| binding.is_some()) {
            Some(interface) => self.uses(interface, world).await,
            None => Uses::default(),
        };
        let may_go = binding.is_none() && (goes || kept.is_some());
        let holders = match wish.eni().filter(|_| may_go) {
            Some(eni) => {
                self.holders(&id(eni, function.as_ref()), function.as_ref())
                    .await
            }
            None => Vec::new(),
        };
        let pci = self.kernel.pci();
        let bound = function.as_ref().filter(|_| binding.is_some());
        let write_combining = bound.and_then(|it| pci.is_write_combining(&it.address));
        let hugepages = bound.map_or_else(Vec::new, |_| pci.hugepages());
        Shown {
            kept: kept.cloned(),
            function,
            host: self.host(binding),
            uses,
            holders,
            write_combining,
            hugepages,
        }
    }

    fn host(&self, binding: Option<&Binding>) -> Host {
        let pci = self.kernel.pci();
        Host {
            may_bind: pci.is_writable(),
            has_driver: binding.is_some_and(|binding| pci.has_driver(&binding.driver)),
            no_iommu: pci.allows_no_iommu(),
            may_no_iommu: self.may_no_iommu,
            any_driver: self.accept == Accept::Virtual,
            offers_devices: self.devices.is_some(),
        }
    }

    async fn uses(&self, interface: &Interface, world: &World) -> Uses {
        let default = self.kernel.default_interface().await;
        let default = default.inspect_err(|error| {
            warn!(error = %Chain(error), "Default route unknown");
        });
        let in_use = self.proc.addresses_in_use();
        let addresses = world.stack.addresses.iter();
        let addresses = addresses.filter(|one| one.interface == interface.index && !one.ours);
        let children = world.links.iter();
        let children = children.filter(|link| link.parent == Some(interface.index));
        Uses {
            // What is not known may be.
            default_route: default.map_or(true, |index| index == Some(interface.index)),
            addresses: addresses
                .map(|one| one.address.addr())
                .filter(|address| in_use.contains(address))
                .collect(),
            children: children.map(|link| link.name.clone()).collect(),
        }
    }

    /// Pods that have the device, and programs that have it open.
    async fn holders(&self, id: &str, function: Option<&Function>) -> Vec<String> {
        let pods = match &self.devices {
            Some(offering) => offering.pods.that_have(id).await,
            None => Ok(Vec::new()),
        };
        let pods = pods.map(|pods| pods.iter().map(ToString::to_string).collect());
        let pods: Vec<String> = pods.unwrap_or_else(|error| {
            warn!(error = %Chain(&error), "Pods' devices unknown");
            vec![format!("perhaps a pod ({})", Chain(&error))]
        });
        let group = function.and_then(|it| it.group.as_ref());
        let vfio = group.map(host_node);
        let uio = function.and_then(|it| it.uio);
        let uio = uio.map(|number| format!("/dev/uio{number}"));
        let nodes = [vfio, uio].into_iter().flatten().map(PathBuf::from);
        let processes = nodes.flat_map(|node| self.proc.holders(&node));
        let processes = processes.map(|process| process.to_string());
        pods.into_iter().chain(processes).collect()
    }

    /// Tells device plugins what pods may have of an interface.
    pub(super) fn offer_device(&self, wish: &Wish, shown: &Shown, status: &NodeStatus) {
        let (Some(offering), Some(eni)) = (&self.devices, wish.eni()) else {
            return;
        };
        let device = match wish {
            Wish::Provide(desired) => offered(desired, shown, status),
            Wish::Wait | Wish::Release { .. } => None,
        };
        offering.devices.tell(eni.as_str(), device);
    }

    /// The next steps of functions that no record knows, back to the kernel.
    pub(super) async fn orphaned_devices(&self, found: &Found, recorded: &[EniId]) -> Vec<Action> {
        let mut steps = Vec::new();
        for (eni, kept) in &found.devices {
            let eni = EniId::from(eni.as_str());
            if recorded.contains(&eni) {
                continue;
            }
            let function = self.kernel.pci().function(&kept.address);
            let holders = self.holders(&kept.address, function.as_ref()).await;
            let shown = Shown {
                kept: Some(kept.clone()),
                function,
                holders,
                ..Shown::default()
            };
            let step = give_back(&eni, &Presence::Absent, &shown, false);
            steps.extend(step.map(Action::Device));
        }
        steps
    }
}

/// What pods may have of the interface; nothing while its name or its place is wrong.
fn offered(desired: &Desired, shown: &Shown, status: &NodeStatus) -> Option<Offered> {
    let told = status.dpdk.as_ref()?;
    let resource = told.resource_name.clone()?;
    let function = shown.function.as_ref();
    let kind = match &desired.device.binding {
        None => Kind::Kernel,
        Some(binding) if binding.driver == VFIO => Kind::Vfio(function?.group.clone()?),
        Some(_) => Kind::Uio(function?.uio?),
    };
    Some(Offered {
        resource,
        id: id(&desired.eni, function),
        kind,
        healthy: status.reason.is_none(),
        numa_node: told.numa_node,
    })
}

/// By what the kubelet knows a device. Virtual ones are a laboratory's.
fn id(eni: &EniId, function: Option<&Function>) -> String {
    function.map_or_else(|| eni.to_string(), |it| it.address.clone())
}
