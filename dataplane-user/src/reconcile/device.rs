//! Looks at the PCI functions of interfaces that DPDK has or should have.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use eniway_api::EniId;
use tracing::warn;

use super::{Agent, World};
use crate::{
    apply::{self, Chain},
    bpf::Note,
    desired::{Wish, dpdk::Binding},
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
        _ => shown.kept.as_ref().map(|_| HELD),
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
        if kept.is_none() && !is_of_pods {
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
        let holders = match &function {
            Some(function) if kept.is_some() && binding.is_none() => self.holders(function),
            _ => Vec::new(),
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
            has_driver: binding.is_some_and(|binding| pci.has_driver(&binding.driver)),
            no_iommu: pci.allows_no_iommu(),
            may_no_iommu: self.may_no_iommu,
            any_driver: self.accept == Accept::Virtual,
            offers_devices: false,
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

    /// Programs that have the device open.
    fn holders(&self, function: &Function) -> Vec<String> {
        let vfio = function.group.as_ref().map(|group| match group.no_iommu {
            true => format!("/dev/vfio/noiommu-{}", group.number),
            false => format!("/dev/vfio/{}", group.number),
        });
        let uio = function.uio.map(|number| format!("/dev/uio{number}"));
        let devices = [vfio, uio].into_iter().flatten().map(PathBuf::from);
        let holders = devices.flat_map(|device| self.proc.holders(&device));
        holders.map(|holder| holder.to_string()).collect()
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
            let holders = function.as_ref().map(|it| self.holders(it));
            let shown = Shown {
                kept: Some(kept.clone()),
                function,
                holders: holders.unwrap_or_default(),
                ..Shown::default()
            };
            let step = give_back(&eni, &Presence::Absent, &shown, false);
            steps.extend(step.map(Action::Device));
        }
        steps
    }
}
