//! What a record asks of its PCI function: a driver for DPDK, and a name under which pods ask for it.

use eniway_api::Dpdk;

/// The driver that IOMMUs are made for.
pub const VFIO: &str = "vfio-pci";

/// Drivers that hand a function to a program. Those but the first do it without an IOMMU, and are not the kernel's own.
pub const DRIVERS: [&str; 3] = [VFIO, "igb_uio", "uio_pci_generic"];

/// Of a device without a name.
const RESOURCE: &str = "eniway.io/dpdk";

/// What the PCI function of an interface should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Absent: the kernel's driver keeps it.
    pub binding: Option<Binding>,
    /// The resource under which the kubelet offers it.
    pub resource: Option<String>,
    /// Where it is expected.
    pub address: Option<String>,
}

/// Which driver hands it to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub driver: String,
    /// Also if nothing keeps the program from the node's memory.
    pub allow_no_iommu: bool,
}

/// What `wish` means.
#[must_use]
pub fn device(wish: Option<&Dpdk>) -> Device {
    let Some(wish) = wish else {
        return Device::default();
    };
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let binding = wish.bind.then(|| Binding {
        driver: said(&wish.driver).unwrap_or_else(|| VFIO.to_owned()),
        allow_no_iommu: wish.allow_unsafe_no_iommu,
    });
    let unnamed = binding.is_some().then(|| RESOURCE.to_owned());
    Device {
        binding,
        resource: said(&wish.resource_name).or(unnamed),
        address: said(&wish.pci_address).map(|address| address.to_ascii_lowercase()),
    }
}

/// Whether pods can ask for a resource of this name: a domain with a dot that is not Kubernetes' own, and a name.
#[must_use]
pub fn is_resource(name: &str) -> bool {
    let Some((domain, name)) = name.split_once('/') else {
        return false;
    };
    let is_word = |text: &str| {
        let inner = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let ends = |letter: char| letter.is_ascii_alphanumeric();
        text.chars().all(inner) && text.starts_with(ends) && text.ends_with(ends)
    };
    let is_theirs = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    let is_domain = is_word(domain) && domain.contains('.') && domain.len() <= 253;
    is_domain && !is_theirs && is_word(name) && name.len() <= 63 && !domain.starts_with("requests.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default() {
        let bound = device(Some(&Dpdk {
            bind: true,
            pci_address: Some("0000:0A:00.0".to_owned()),
            ..Dpdk::default()
        }));
        let binding = bound.binding.unwrap();
        assert_eq!(binding.driver, "vfio-pci");
        assert!(!binding.allow_no_iommu);
        assert_eq!(bound.resource.as_deref(), Some("eniway.io/dpdk"));
        assert_eq!(bound.address.as_deref(), Some("0000:0a:00.0"));
        assert_eq!(device(Some(&Dpdk::default())), Device::default());
        let offered = device(Some(&Dpdk {
            resource_name: Some("intel.com/kernel_1".to_owned()),
            ..Dpdk::default()
        }));
        assert_eq!(offered.binding, None);
        assert_eq!(offered.resource.as_deref(), Some("intel.com/kernel_1"));
    }
    #[test]
    fn a_resource_has_a_domain_and_a_name() {
        for good in ["intel.com/sriov_test_1", "eniway.io/dpdk", "a.b/c-D.e_f"] {
            assert!(is_resource(good), "{good}");
        }
        for bad in [
            "dpdk",
            "intel/x",
            "intel.com/",
            "intel.com/a/b",
            "kubernetes.io/x",
            "node.kubernetes.io/x",
            "requests.a.b/c",
            "intel.com/-x",
            "intel.com/a b",
        ] {
            assert!(!is_resource(bad), "{bad}");
        }
    }
}
