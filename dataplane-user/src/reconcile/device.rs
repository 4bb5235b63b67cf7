//! Looks at the PCI functions of interfaces that DPDK has or should have.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use eniway_api::{EniId, NodeStatus};
use tracing::{debug, warn};

use super::{Agent, Offering, World};
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

/// A program, or a pod, lets go of it.
const HELD: Duration = Duration::from_secs(2);

/// When to look again at a device of which the kernel tells nothing.
pub(super) fn patience(wish: &Wish, shown: &Shown) -> Option<Duration> {
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
    pub(super) async fn device(
        &self,
        wish: &Wish,
        presence: &Presence,
        world: &World,
        last: Option<&NodeStatus>,
    ) -> Shown {
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
        let attached = wish.eni().and_then(|eni| world.attached(eni));
        let in_pod = attached.is_some_and(|it| it.ifindex != 0);
        let last = last.filter(|_| in_pod);
        let function =
            address(interface, kept, last).and_then(|address| self.kernel.pci().function(address));
        let binding = wanted.and_then(|device| device.binding.as_ref());
        let uses = match interface.filter(|_| binding.is_some()) {
            Some(interface) => self.uses(interface, world).await,
            None => Uses::default(),
        };
        let driver = function.as_ref().and_then(|it| it.driver.as_ref());
        let may_change = match binding {
            None => goes || kept.is_some(),
            Some(_) if interface.is_some() => self.devices.is_some(),
            Some(binding) => kept.is_some() && driver != Some(&binding.driver),
        };
        let holders = match wish.eni().filter(|_| may_change) {
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

    /// Offers a device no longer that is to go, or to change hands: nobody gets it while it is asked who has it.
    pub(super) fn withdraw_device(&self, wish: &Wish) {
        let (Some(offering), Some(eni)) = (&self.devices, wish.eni()) else {
            return;
        };
        let Some(device) = offering.devices.of(eni.as_str()) else {
            return;
        };
        let stays = match wish {
            Wish::Wait => true,
            Wish::Provide(desired) => {
                desired.device.binding.is_some() == (device.kind != Kind::Kernel)
            }
            Wish::Release { .. } => false,
        };
        if !stays {
            offering.devices.tell(eni.as_str(), None);
        }
    }

    /// Tells device plugins what pods may have of an interface; when to do so again.
    pub(super) async fn offer_device(
        &self,
        wish: &Wish,
        shown: &Shown,
        status: &NodeStatus,
    ) -> Option<Duration> {
        let (offering, eni) = (self.devices.as_ref()?, wish.eni()?);
        let mut device = match wish {
            Wish::Provide(desired) => offered(desired, shown, status),
            Wish::Wait | Wish::Release { .. } => None,
        };
        let mut again = None;
        if let Some(device) = &mut device
            && is_renamed(offering, eni, device).await
        {
            device.healthy = false;
            again = Some(HELD);
        }
        offering.devices.tell(eni.as_str(), device);
        again
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

/// Whether a pod has the device by the name that its resource had before. The kubelet counts each name by itself, and
/// would give it away once more.
async fn is_renamed(offering: &Offering, eni: &EniId, device: &Offered) -> bool {
    let before = offering.devices.of(eni.as_str());
    if before.is_some_and(|before| before.resource == device.resource && before.healthy) {
        return false;
    }
    let pods = offering
        .pods
        .that_have_otherwise(&device.id, &device.resource);
    let pods = pods.await.inspect_err(|error| {
        debug!(error = %Chain(error), "Pods' devices unknown");
    });
    pods.is_ok_and(|pods| !pods.is_empty())
}

/// The place of the interface's function. `last`: what was told of it before a pod had the interface. It is the same device
/// there, and the kubelet knows it by its address.
fn address<'a>(
    interface: Option<&'a Interface>,
    kept: Option<&'a Kept>,
    last: Option<&'a NodeStatus>,
) -> Option<&'a String> {
    match (interface, kept) {
        (Some(interface), _) => interface.pci_address.as_ref(),
        (None, Some(kept)) => Some(&kept.address),
        (None, None) => last.and_then(|last| last.pci_address.as_ref()),
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
        Some(binding) => Kind::Uio {
            number: function?.uio?,
            driver: binding.driver.clone(),
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink;

    #[test]
    fn a_device_keeps_its_address_in_dpdks_hands_and_in_a_pod() {
        let interface = Interface {
            index: 3,
            name: "ens6".to_owned(),
            other_names: Vec::new(),
            up: true,
            mtu: 1500,
            pci_address: Some("0000:00:06.0".to_owned()),
            driver: Some("ena".to_owned()),
            device: netlink::Device::default(),
        };
        let kept = Kept::parse("0000:00:07.0 ena ens7");
        let last = NodeStatus {
            pci_address: Some("0000:00:08.0".to_owned()),
            ..NodeStatus::default()
        };
        let check = |interface, kept, last, expected: Option<&str>| {
            assert_eq!(address(interface, kept, last).map(String::as_str), expected);
        };
        let (kept, last) = (kept.as_ref(), Some(&last));
        check(Some(&interface), kept, last, Some("0000:00:06.0"));
        check(None, kept, last, Some("0000:00:07.0"));
        check(None, None, last, Some("0000:00:08.0"));
        check(None, None, None, None);
    }
}
