//! The agent: makes the network interfaces of one node what their records ask for.
//!
//! Each module decides, looks, changes, or is a door to something outside:
//! `kubernetes` tells the records → `desired` reads them → `observe` looks through `netlink` and `sysfs`
//! → `plan` decides → `apply` changes through `netlink`, `sysctl`, `networkd` and `bpf` → `status` says what is there.
//! `reconcile` goes round these, whenever something has changed. `sockets` answers programs of the node: those with
//! AF_XDP sockets, and `cni`, which the container runtime calls, by what `pods` knows. `devices` are what pods can ask the kubelet for,
//! which hears of them by `device_plugins`, or the SR-IOV plugin by `sriov`. `metadata` looks for what `imds` tells beside the records; without Kubernetes,
//! `standalone` makes the records from a file and from that.

#[cfg(all(feature = "bpf-log", not(debug_assertions)))]
compile_error!("the feature bpf-log is for debug builds: it makes each verdict many times dearer");

pub mod cni;
pub mod config;
pub mod device_plugins;
pub mod devices;
pub mod pods;
pub mod run;
pub mod sockets;
pub mod sriov;
pub mod standalone;
pub mod telemetry;

pub mod reconcile;
pub mod records;

pub mod desired;
pub mod observe;
pub mod plan;
pub mod status;

pub mod look;

pub mod apply;
pub mod bpf;
pub mod capabilities;
pub mod imds;
pub mod kubernetes;
pub mod metadata;
pub mod netlink;
pub mod networkd;
pub mod pci;
pub mod proc;
pub mod states;
pub mod sysctl;
pub mod sysfs;
