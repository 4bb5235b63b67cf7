//! Decides how an interface's PCI function gets to a driver for DPDK, and back to the kernel's.
//!
//! One step at a time, and what follows from it is seen by looking: whoever is killed between two steps goes on where
//! the function stands. First of all it is written down which function it was, because a function without the
//! kernel's driver shows no MAC address.

use std::{fmt, net::IpAddr};

use eniway_api::EniId;

use crate::{
    desired::dpdk::{Binding, DRIVERS, Device, VFIO},
    observe::{Interface, Presence},
    pci::{Function, Group, Hugepages},
};

/// What is known of an interface's PCI function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// What was written down before it left the kernel's driver.
    pub kept: Option<Kept>,
    /// The function at the interface's address, or else at the one that is written down.
    pub function: Option<Function>,
    pub host: Host,
    /// What uses the interface, while the kernel has it.
    pub uses: Uses,
    /// Pods, and programs, that have the device.
    pub holders: Vec<String>,
    /// Whether its low-latency queue is mapped write-combining.
    pub write_combining: Option<bool>,
    /// What the node reserves.
    pub hugepages: Vec<Hugepages>,
}

/// Which function an interface was, and who drove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub address: String,
    pub driver: String,
    /// The interface's name then.
    pub interface: String,
}

/// What the node can, and may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The agent may change drivers.
    pub may_bind: bool,
    /// The kernel has the driver that is asked for.
    pub has_driver: bool,
    /// Its vfio does without an IOMMU.
    pub no_iommu: bool,
    /// The agent may use that.
    pub may_no_iommu: bool,
    /// The driver of an interface may be another than EC2's: in a laboratory.
    pub any_driver: bool,
    /// The agent offers devices to the kubelet.
    pub offers_devices: bool,
}

/// What uses an interface of the kernel's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// The node's own way to the world leads by it.
    pub default_route: bool,
    /// Its addresses that sockets have.
    pub addresses: Vec<IpAddr>,
    /// Links that stand on it: macvlan, ipvlan, VLAN.
    pub children: Vec<String>,
}

/// One change, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes down which function it is.
    Keep {
        eni: EniId,
        kept: Kept,
    },
    /// Lets only this driver have it; `None`: any that fits.
    Override {
        address: String,
        driver: Option<String>,
    },
    Unbind {
        address: String,
        driver: String,
    },
    /// Gives it to the driver that fits, which must be this one.
    Probe {
        address: String,
        driver: String,
    },
    /// The kernel has it again, or it is gone.
    Forget {
        eni: EniId,
    },
}

/// Why a device is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is not where it is said to be.
    Address,
    /// The node lacks the driver, or it is none for DPDK.
    Driver,
    /// Somebody uses the interface.
    InUse,
    /// Nothing stands between the device and the node's memory, and that is not allowed.
    NoIommu,
    /// Its IOMMU group has others that would go along.
    IommuGroup,
}

/// The next step towards `binding`, when the interface has nothing of ours any more; at most one.
#[must_use]
pub fn bind(
    eni: &EniId,
    device: &Device,
    binding: &Binding,
    presence: &Presence,
    shown: &Shown,
) -> Option<Step> {
    let driver = &binding.driver;
    match presence {
        Presence::Ambiguous(_) => None,
        Presence::Present(interface) => {
            if refusal(device, binding, interface, shown).is_some() {
                return None;
            }
            let function = shown.function.as_ref()?;
            let kept = kept(interface, function)?;
            if shown.kept.as_ref() != Some(&kept) {
                let eni = eni.clone();
                return Some(Step::Keep { eni, kept });
            }
            if function.driver_override.as_ref() != Some(driver) {
                return Some(Step::Override {
                    address: function.address.clone(),
                    driver: Some(driver.clone()),
                });
            }
            Some(Step::Unbind {
                address: kept.address,
                driver: kept.driver,
            })
        }
        Presence::Absent => {
            let kept = shown.kept.as_ref()?;
            let Some(function) = &shown.function else {
                return Some(Step::Forget { eni: eni.clone() });
            };
            match &function.driver {
                Some(now) if now == driver => None,
                // Another device stands there now.
                Some(now) if *now == kept.driver && !function.macs.is_empty() => {
                    Some(Step::Forget { eni: eni.clone() })
                }
                // Another was asked for before. It is the kernel's again first, so that all is asked that must be.
                Some(now) if DRIVERS.contains(&now.as_str()) => {
                    give_back(eni, presence, shown, false)
                }
                Some(_) => None,
                None if function.driver_override.as_ref() == Some(driver) => Some(Step::Probe {
                    address: function.address.clone(),
                    driver: driver.clone(),
                }),
                None => give_back(eni, presence, shown, false),
            }
        }
    }
}

/// The next step back to the kernel; at most one. `force`: although somebody has the device.
#[must_use]
pub fn give_back(eni: &EniId, presence: &Presence, shown: &Shown, force: bool) -> Option<Step> {
    let kept = shown.kept.as_ref()?;
    let forget = Step::Forget { eni: eni.clone() };
    let Some(function) = &shown.function else {
        return Some(forget);
    };
    let clear = function.driver_override.as_ref().map(|_| Step::Override {
        address: function.address.clone(),
        driver: None,
    });
    if let Presence::Present(interface) = presence {
        let is_same = interface.pci_address.as_ref() == Some(&kept.address);
        return Some(clear.filter(|_| is_same).unwrap_or(forget));
    }
    match &function.driver {
        Some(driver) if *driver == kept.driver => match function.macs.as_slice() {
            // Its interface is on its way, or in another namespace.
            [] => clear,
            [_, ..] => Some(forget),
        },
        Some(_) if is_held(shown) && !force => None,
        Some(driver) => Some(clear.unwrap_or_else(|| Step::Unbind {
            address: function.address.clone(),
            driver: driver.clone(),
        })),
        None => Some(clear.unwrap_or_else(|| Step::Probe {
            address: function.address.clone(),
            driver: kept.driver.clone(),
        })),
    }
}

/// Whether DPDK's driver has the function.
#[must_use]
pub fn is_bound(binding: &Binding, presence: &Presence, shown: &Shown) -> bool {
    let driver = shown.function.as_ref().and_then(|it| it.driver.as_ref());
    *presence == Presence::Absent && shown.kept.is_some() && driver == Some(&binding.driver)
}

/// Whether a program has the device, or a pod may open it at any time. vfio-pci switches a function on for a program
/// only; of the other drivers nothing can be told.
#[must_use]
pub fn is_held(shown: &Shown) -> bool {
    let is_open = shown
        .function
        .as_ref()
        .is_some_and(|function| function.driver.as_deref() == Some(VFIO) && function.enabled > 0);
    is_open || !shown.holders.is_empty()
}

/// What is to be written down of `interface` and its function, whose driver may have another name than the interface's
/// (virtio-pci, virtio_net); `None` for a virtual one.
fn kept(interface: &Interface, function: &Function) -> Option<Kept> {
    Some(Kept {
        address: interface.pci_address.clone()?,
        driver: function
            .driver
            .clone()
            .filter(|driver| !DRIVERS.contains(&driver.as_str()))?,
        interface: interface.name.clone(),
    })
}

/// Why `interface` is not at the address where it is said to be.
#[must_use]
pub fn misplaced(device: &Device, interface: &Interface) -> Option<String> {
    let expected = device.address.as_ref()?;
    let found = interface.pci_address.as_ref()?;
    (expected != found).then(|| {
        format!(
            "dpdkPCIAddress is {expected}, and the interface with the ENI's MAC address, {}, is at {found}; \
             correct dpdkPCIAddress, or leave it out: the interface is found without",
            interface.name
        )
    })
}

/// Why `interface` may not leave the kernel's driver.
#[must_use]
pub fn refusal(
    device: &Device,
    binding: &Binding,
    interface: &Interface,
    shown: &Shown,
) -> Option<(Obstacle, String)> {
    let name = &interface.name;
    if let Some(message) = misplaced(device, interface) {
        return Some((Obstacle::Address, message));
    }
    if let Some(message) = wrong_driver(binding, interface, shown.host) {
        return Some((Obstacle::Driver, message));
    }
    let uses = &shown.uses;
    if uses.default_route {
        let message =
            format!("the node's default route leads by {name}, which stays with the kernel");
        return Some((Obstacle::InUse, message));
    }
    if !uses.children.is_empty() {
        let children = uses.children.join(", ");
        let message = format!("{children} stand on {name}; remove them first");
        return Some((Obstacle::InUse, message));
    }
    if !uses.addresses.is_empty() {
        let addresses: Vec<_> = uses.addresses.iter().map(ToString::to_string).collect();
        let message = format!(
            "programs of the node have sockets at {}, of {name}; stop them first (`ss -anp`)",
            addresses.join(", ")
        );
        return Some((Obstacle::InUse, message));
    }
    if !shown.holders.is_empty() {
        let message = format!(
            "{} asked for {name}; DPDK gets it when it is let go",
            shown.holders.join(", ")
        );
        return Some((Obstacle::InUse, message));
    }
    let group = shown.function.as_ref().and_then(|it| it.group.as_ref());
    match group.filter(|group| !group.no_iommu && binding.driver == VFIO) {
        Some(group) => shared(group).map(|message| (Obstacle::IommuGroup, message)),
        None => unsafe_refused(binding, shown.host).map(|message| (Obstacle::NoIommu, message)),
    }
}

fn wrong_driver(binding: &Binding, interface: &Interface, host: Host) -> Option<String> {
    let (name, wanted) = (&interface.name, &binding.driver);
    if !DRIVERS.contains(&wanted.as_str()) {
        return Some(format!(
            "dpdkDriver {wanted} is none for DPDK; it is one of {}",
            DRIVERS.join(", ")
        ));
    }
    if interface.pci_address.is_none() {
        return Some(format!("{name} is virtual: it has no PCI function to bind"));
    }
    match interface.driver.as_deref() {
        Some("ena") => {}
        Some(_) if host.any_driver => {}
        other => {
            let other = other.unwrap_or("no driver");
            return Some(format!(
                "{name} is driven by {other}, and an ENI by ena; it is left alone"
            ));
        }
    }
    if !host.may_bind {
        return Some(
            "this node's agent binds no devices: start it with --sysfs-writable (agent.dpdk.enabled in the chart)"
                .to_owned(),
        );
    }
    (!host.has_driver).then(|| {
        format!(
            "the node's kernel has no driver {wanted}: `modprobe {wanted}`, and a file in /etc/modules-load.d for the \
             next boot"
        )
    })
}

/// Others of the group would lose their driver, or reach the program's memory.
fn shared(group: &Group) -> Option<String> {
    let others = group.others.iter().filter_map(|(address, driver)| {
        let driver = driver.as_ref()?;
        (driver != VFIO && driver != "pci-stub").then(|| format!("{address} ({driver})"))
    });
    let others: Vec<String> = others.collect();
    (!others.is_empty()).then(|| {
        format!(
            "the IOMMU does not tell the device from {}, with which it is in group {}; all of a group go to DPDK, or none",
            others.join(", "),
            group.number
        )
    })
}

fn unsafe_refused(binding: &Binding, host: Host) -> Option<String> {
    let what = "no IOMMU keeps the device from the node's memory (virtual EC2 instances have none)";
    if !binding.allow_no_iommu {
        return Some(format!(
            "{what}; to bind it all the same, set dpdk.allowUnsafeNoIOMMU: true"
        ));
    }
    if !host.may_no_iommu {
        return Some(format!(
            "{what}; dpdk.allowUnsafeNoIOMMU asks for it all the same, and this node's agent may not: start it with \
             --allow-unsafe-no-iommu (agent.dpdk.allowUnsafeNoIOMMU in the chart)"
        ));
    }
    (binding.driver == VFIO && !host.no_iommu).then(|| {
        format!(
            "{what}, and the kernel's vfio insists on one: `echo 1 > \
             /sys/module/vfio/parameters/enable_unsafe_noiommu_mode`, and `options vfio enable_unsafe_noiommu_mode=1` in \
             /etc/modprobe.d for the next boot"
        )
    })
}

impl Step {
    /// The name in metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Keep { .. } => "keep_device",
            Self::Override { .. } => "override_driver",
            Self::Unbind { .. } => "unbind_driver",
            Self::Probe { .. } => "probe_driver",
            Self::Forget { .. } => "forget_device",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep { eni, kept } => {
                write!(
                    f,
                    "write down that {eni} is {} of {}",
                    kept.address, kept.driver
                )
            }
            Self::Override {
                address,
                driver: Some(driver),
            } => write!(f, "let only {driver} have {address}"),
            Self::Override {
                address,
                driver: None,
            } => write!(f, "let any driver have {address}"),
            Self::Unbind { address, driver } => write!(f, "take {address} from {driver}"),
            Self::Probe { address, driver } => write!(f, "give {address} to {driver}"),
            Self::Forget { eni } => write!(f, "forget which device {eni} was"),
        }
    }
}

/// The text in which it is written down.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.address, self.driver, self.interface)
    }
}

impl Kept {
    /// `None` for what nobody of ours wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').map(str::to_owned);
        Some(Self {
            address: words.next().filter(|address| address.contains(':'))?,
            driver: words.next()?,
            interface: words.next()?,
        })
    }
}

#[cfg(test)]
mod tests;
