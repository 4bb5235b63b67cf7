//! Finds the interface that is an ENI, by the one thing EC2 and the kernel both know: its MAC address.
//!
//! A name is no identity: udev, ec2-net-utils and users rename interfaces, and what EC2 calls device
//! index 1 may be ens6. A MAC address alone is none either: VLAN, macvlan and ipvlan children bear
//! their parent's.

use eniway_api::MacAddress;

use crate::{
    netlink::{Device, IfIndex, Link},
    sysfs::Sysfs,
};

/// The interface of an ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub index: IfIndex,
    pub name: String,
    /// Alternative names.
    pub other_names: Vec<String>,
    pub up: bool,
    /// Bytes, without the Ethernet header.
    pub mtu: u32,
    /// Absent for a virtual device.
    pub pci_address: Option<String>,
    pub driver: Option<String>,
    /// What the driver tells of itself; [`find`] does not ask it.
    pub device: Device,
}

impl Interface {
    /// Whether the kernel finds it by `name`.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.other_names.iter().any(|other| other == name)
    }
}

/// What this network namespace shows of an ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    Absent,
    Present(Interface),
    /// Several interfaces bear its address, and nothing tells which is the ENI.
    Ambiguous(Vec<String>),
}

impl Presence {
    /// The interface's name, if it is here.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Present(interface) => Some(&interface.name),
            Self::Absent | Self::Ambiguous(_) => None,
        }
    }
}

/// Which links may be ENIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// PCI functions, as every ENI on EC2 is.
    Hardware,
    /// Also veths, of which laboratories make their ENIs.
    Virtual,
}

/// Looks for the ENI with the address `mac` among `links`.
#[must_use]
pub fn find(links: &[Link], sysfs: &Sysfs, accept: Accept, mac: MacAddress) -> Presence {
    let mut found: Vec<Interface> = links
        .iter()
        .filter(|link| link.mac == mac)
        .filter_map(|link| interface(link, sysfs, accept))
        .collect();
    match found.len() {
        0 => Presence::Absent,
        1 => Presence::Present(found.remove(0)),
        _ => Presence::Ambiguous(found.into_iter().map(|interface| interface.name).collect()),
    }
}

fn interface(link: &Link, sysfs: &Sysfs, accept: Accept) -> Option<Interface> {
    let (pci_address, driver) = match (link.kind.as_deref(), accept) {
        (None, _) => {
            let device = sysfs.pci_device(&link.name)?;
            (Some(device.address), device.driver)
        }
        (Some("veth"), Accept::Virtual) => (None, Some("veth".to_owned())),
        (Some(_), _) => return None,
    };
    Some(Interface {
        index: link.index,
        name: link.name.clone(),
        other_names: link.other_names.clone(),
        up: link.up,
        mtu: link.mtu,
        pci_address,
        driver,
        device: Device::default(),
    })
}

#[cfg(test)]
mod tests;
