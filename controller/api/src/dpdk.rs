//! An interface that is handed to DPDK, or offered to pods as a device.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// More that may be said of `enableDPDK`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DpdkOptions {
    /// Bind the device although no IOMMU stands between it and the node's memory, as on virtual EC2 instances: whoever has
    /// it can then read and write all of that memory. The agents of the node must allow it, too
    /// (`agent.dpdk.allowUnsafeNoIOMMU` of the chart). Default false.
    #[serde(
        rename = "allowUnsafeNoIOMMU",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub allow_unsafe_no_iommu: bool,
}

/// What the user asked of DPDK.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dpdk {
    /// Whether the device is to leave the kernel's driver. False with a resource name: the kernel
    /// keeps it, and the kubelet offers it.
    #[serde(default)]
    pub bind: bool,
    /// The driver wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The resource name wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// The PCI address expected.
    #[serde(
        rename = "pciAddress",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub pci_address: Option<String>,
    /// Whether it may be bound without an IOMMU.
    #[serde(
        rename = "allowUnsafeNoIOMMU",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub allow_unsafe_no_iommu: bool,
}

/// What the node shows of a device that DPDK drives, or that the kubelet offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpdkStatus {
    /// The resource under which the kubelet offers it; absent while it is not offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// Its IOMMU group, by which /dev/vfio names it. Absent with the kernel's driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iommu_group: Option<u32>,
    /// True when no IOMMU stands between the device and the node's memory.
    #[serde(
        rename = "noIOMMU",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub no_iommu: bool,
    /// Whether its low-latency queue is mapped write-combining, which ENAs of the sixth generation need. Known only while
    /// a program has the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_combining: Option<bool>,
    /// The NUMA node next to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// What a pod for DPDK lacks on this node, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub missing: Vec<String>,
}
