//! Devices that the kubelet offers to pods: what each is, and what a container gets that has it.
//!
//! Environment and files are those of the SR-IOV network device plugin, so that applications, Multus and the CNI plugin
//! `host-device` take a device of ours for one of its.

use std::{collections::BTreeMap, mem};

use eniway_kubelet::{Device, Grant, Node};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use crate::pci::Group;

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// `example.com/fast`.
    pub resource: String,
    /// By which the kubelet knows it: the PCI address, or the ENI's ID of a virtual one.
    pub id: String,
    pub kind: Kind,
    /// Pods may have it now.
    pub healthy: bool,
    pub numa_node: Option<u32>,
}

/// What a container needs to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: the kernel has it, and a CNI plugin moves its interface into the pod.
    Kernel,
    /// The device nodes of vfio.
    Vfio(Group),
    /// The device node with this number, of this driver.
    Uio { number: u32, driver: String },
}

/// The devices of this node, by ENI: the loop writes them, device plugins read them.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    all: watch::Sender<BTreeMap<String, Offered>>,
    /// Every record was looked at once.
    is_whole: watch::Sender<bool>,
}

impl Devices {
    /// Replaces what is known of an ENI's device; `None`: it is not offered.
    pub fn tell(&self, eni: &str, device: Option<Offered>) {
        self.all.send_if_modified(|devices| {
            if devices.get(eni) == device.as_ref() {
                return false;
            }
            match device {
                Some(device) => devices.insert(eni.to_owned(), device),
                None => devices.remove(eni),
            };
            true
        });
    }

    /// What is known of an ENI's device.
    #[must_use]
    pub fn of(&self, eni: &str) -> Option<Offered> {
        self.all.borrow().get(eni).cloned()
    }

    /// Every record was looked at: forgets ENIs of which there is none any more.
    pub fn keep(&self, is_known: impl Fn(&str) -> bool) {
        self.all.send_if_modified(|devices| {
            let before = devices.len();
            devices.retain(|eni, _| is_known(eni));
            devices.len() != before
        });
        self.is_whole
            .send_if_modified(|is_whole| !mem::replace(is_whole, true));
    }

    /// Waits until every record was looked at once: before, what is not known may be there all the same.
    pub(crate) async fn whole(&self) {
        let mut is_whole = self.is_whole.subscribe();
        // The sender is ours.
        let _ = is_whole.wait_for(|is_whole| *is_whole).await;
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<String, Offered>> {
        self.all.subscribe()
    }
}

/// Those of one resource, as the kubelet sees them.
#[must_use]
pub fn listed(devices: &BTreeMap<String, Offered>, resource: &str) -> Vec<Device> {
    let devices = devices.values().filter(|one| one.resource == resource);
    devices
        .map(|one| Device {
            id: one.id.clone(),
            healthy: one.healthy,
            numa_node: one.numa_node,
        })
        .collect()
}

/// What a container gets that is given the devices `ids` of `resource`; or why it gets none.
pub fn grant(
    devices: &BTreeMap<String, Offered>,
    resource: &str,
    ids: &[String],
) -> Result<Grant, String> {
    let mut nodes = BTreeMap::new();
    let mut told = BTreeMap::new();
    for id in ids {
        let mut all = devices.values();
        let device = all.find(|one| one.resource == resource && one.id == *id && one.healthy);
        let device = device.ok_or_else(|| format!("{resource} has no device {id} any more"))?;
        let mut about = json!({"generic": {"deviceID": id}});
        match &device.kind {
            Kind::Kernel => {}
            Kind::Vfio(group) => {
                let inside = format!("/dev/vfio/{}", group.number);
                about["vfio"] = json!({"dev-mount": inside, "mount": "/dev/vfio/vfio"});
                // In the container it has the name that it would have with an IOMMU.
                nodes.insert(inside, host_node(group));
                let all_groups = "/dev/vfio/vfio".to_owned();
                nodes.insert(all_groups.clone(), all_groups);
            }
            Kind::Uio { number, .. } => {
                let node = format!("/dev/uio{number}");
                about["uio"] = json!({"mount": node});
                nodes.insert(node.clone(), node);
            }
        }
        told.insert(id.clone(), about);
    }
    let name = format!("PCIDEVICE_{}", resource.replace(['/', '.'], "_"));
    let name = name.to_ascii_uppercase();
    let environment = BTreeMap::from([
        (format!("{name}_INFO"), json!(told).to_string()),
        (name, ids.join(",")),
    ]);
    let nodes = nodes.into_iter();
    Ok(Grant {
        environment,
        nodes: nodes
            .map(|(container, host)| Node { host, container })
            .collect(),
    })
}

/// The node of an IOMMU group under /dev.
#[must_use]
pub fn host_node(group: &Group) -> String {
    match group.no_iommu {
        true => format!("/dev/vfio/noiommu-{}", group.number),
        false => format!("/dev/vfio/{}", group.number),
    }
}

/// What Multus reads of a device that a pod has: a file's name, and what stands in it (the network plumbing working group's
/// device information, 1.1.0).
#[must_use]
pub fn device_info(resource: &str, id: &str) -> (String, String) {
    #[derive(Serialize)]
    struct Info<'a> {
        r#type: &'a str,
        version: &'a str,
        pci: Pci<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Pci<'a> {
        pci_address: &'a str,
    }
    let name = format!("{}-{id}-device.json", resource.replace('/', "-"));
    let info = Info {
        r#type: "pci",
        version: "1.1.0",
        pci: Pci { pci_address: id },
    };
    (name, json!(info).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> BTreeMap<String, Offered> {
        let device = |id: &str, kind| Offered {
            resource: "intel.com/sriov_test_1".to_owned(),
            id: id.to_owned(),
            kind,
            healthy: true,
            numa_node: Some(0),
        };
        let group = |number, no_iommu| {
            Kind::Vfio(Group {
                number,
                no_iommu,
                others: Vec::new(),
            })
        };
        let uio = |number| Kind::Uio {
            number,
            driver: "igb_uio".to_owned(),
        };
        let other = Offered {
            resource: "intel.com/other".to_owned(),
            ..device("0000:00:09.0", Kind::Kernel)
        };
        let ill = Offered {
            healthy: false,
            ..device("0000:00:0a.0", uio(1))
        };
        BTreeMap::from([
            ("eni-1".to_owned(), device("0000:00:06.0", group(7, false))),
            ("eni-2".to_owned(), device("0000:00:07.0", group(0, true))),
            ("eni-3".to_owned(), device("0000:00:08.0", uio(0))),
            ("eni-4".to_owned(), other),
            ("eni-5".to_owned(), ill),
        ])
    }

    #[test]
    fn a_container_gets_what_the_sriov_plugin_would_give_it() {
        let ids = ["0000:00:06.0", "0000:00:07.0", "0000:00:08.0"].map(str::to_owned);
        let grant = grant(&devices(), "intel.com/sriov_test_1", &ids).unwrap();
        let environment: Vec<_> = grant.environment.into_iter().collect();
        let said = [
            (
                "PCIDEVICE_INTEL_COM_SRIOV_TEST_1",
                "0000:00:06.0,0000:00:07.0,0000:00:08.0",
            ),
            (
                "PCIDEVICE_INTEL_COM_SRIOV_TEST_1_INFO",
                r#"{"0000:00:06.0":{"generic":{"deviceID":"0000:00:06.0"},"vfio":{"dev-mount":"/dev/vfio/7","mount":"/dev/vfio/vfio"}},"0000:00:07.0":{"generic":{"deviceID":"0000:00:07.0"},"vfio":{"dev-mount":"/dev/vfio/0","mount":"/dev/vfio/vfio"}},"0000:00:08.0":{"generic":{"deviceID":"0000:00:08.0"},"uio":{"mount":"/dev/uio0"}}}"#,
            ),
        ];
        assert_eq!(
            environment,
            said.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let nodes: Vec<_> = grant
            .nodes
            .iter()
            .map(|node| format!("{} as {}", node.host, node.container))
            .collect();
        let expected = [
            "/dev/uio0 as /dev/uio0",
            "/dev/vfio/noiommu-0 as /dev/vfio/0",
            "/dev/vfio/7 as /dev/vfio/7",
            "/dev/vfio/vfio as /dev/vfio/vfio",
        ];
        assert_eq!(nodes, expected);
    }

    #[test]
    fn a_device_of_another_resource_and_one_that_is_ill_are_not_given() {
        for id in ["0000:00:09.0", "0000:00:0a.0", "0000:00:0b.0"] {
            let given = grant(&devices(), "intel.com/sriov_test_1", &[id.to_owned()]);
            let said = format!("intel.com/sriov_test_1 has no device {id} any more");
            assert_eq!(given, Err(said));
        }
        assert_eq!(listed(&devices(), "intel.com/sriov_test_1").len(), 4);
    }

    #[test]
    fn multus_finds_the_devices_file() {
        let (name, text) = device_info("intel.com/sriov_test_1", "0000:00:06.0");
        assert_eq!(name, "intel.com-sriov_test_1-0000:00:06.0-device.json");
        assert_eq!(
            text,
            r#"{"pci":{"pci-address":"0000:00:06.0"},"type":"pci","version":"1.1.0"}"#
        );
    }

    #[test]
    fn nobody_is_woken_by_what_is_not_new() {
        let shared = Devices::default();
        let mut readers = shared.subscribe();
        let device = devices()["eni-1"].clone();
        shared.tell("eni-1", Some(device.clone()));
        assert!(readers.has_changed().unwrap());
        readers.mark_unchanged();
        shared.tell("eni-1", Some(device));
        shared.keep(|_| true);
        assert!(!readers.has_changed().unwrap());
        shared.keep(|_| false);
        assert!(readers.has_changed().unwrap() && readers.borrow().is_empty());
    }
}
