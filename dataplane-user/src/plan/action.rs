//! One change of the kernel, as data: `plan` writes it, `apply` carries it out.

use std::fmt;

use eniway_api::EniId;

use super::{dpdk::Step, network::Change};
use crate::{
    bpf::{Guard, GuardConfig},
    netlink::IfIndex,
};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Remembers the MTU that was found, and sets another.
    SetMtu {
        eni: EniId,
        index: IfIndex,
        name: String,
        found: u32,
        mtu: u32,
    },
    /// Gives the interface the MTU back that it was found with.
    RestoreMtu {
        eni: EniId,
        index: IfIndex,
        name: String,
        mtu: u32,
    },
    /// Forgets the MTU of an interface that is not here any more.
    ForgetMtu {
        eni: EniId,
    },
    /// Remembers how many channels were in use, and uses another number. A device restarts for it.
    SetChannels {
        eni: EniId,
        name: String,
        found: u32,
        channels: u32,
    },
    /// Uses as many channels as were found in use.
    RestoreChannels {
        eni: EniId,
        name: String,
        channels: u32,
    },
    /// Forgets the channels of an interface that is not here any more.
    ForgetChannels {
        eni: EniId,
    },
    /// Attaches what is missing, replaces what is old, adopts the rest; no packet is lost.
    AttachGuard {
        eni: EniId,
        index: IfIndex,
        name: String,
        guard: Guard,
        /// Why packets are not to be checked where it was asked for.
        reason: Option<String>,
    },
    /// Gives a guard whose interface is in a pod other programs, rules and settings.
    ReplaceGuard {
        eni: EniId,
        guard: Guard,
    },
    /// Changes addresses and mode of a guard that is attached; no program is loaded.
    ConfigureGuard {
        eni: EniId,
        config: GuardConfig,
    },
    SetUp {
        index: IfIndex,
        name: String,
    },
    /// Removes programs, maps and pins.
    DetachGuard {
        eni: EniId,
    },
    /// Forgets a pod whose veth is gone.
    RemovePod {
        eni: EniId,
        interface: IfIndex,
    },
    /// Changes the node's network.
    Network(Change),
    /// Brings the PCI function to another driver.
    Device(Step),
}

impl Action {
    /// The name in metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::SetMtu { .. } => "set_mtu",
            Self::RestoreMtu { .. } => "restore_mtu",
            Self::ForgetMtu { .. } => "forget_mtu",
            Self::SetChannels { .. } => "set_channels",
            Self::RestoreChannels { .. } => "restore_channels",
            Self::ForgetChannels { .. } => "forget_channels",
            Self::AttachGuard { .. } => "attach_guard",
            Self::ReplaceGuard { .. } => "replace_guard",
            Self::ConfigureGuard { .. } => "configure_guard",
            Self::SetUp { .. } => "set_up",
            Self::DetachGuard { .. } => "detach_guard",
            Self::RemovePod { .. } => "remove_pod",
            Self::Network(change) => change.label(),
            Self::Device(step) => step.label(),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetMtu { name, mtu, .. } => write!(f, "set the MTU of {name} to {mtu}"),
            Self::RestoreMtu { name, mtu, .. } => write!(f, "give {name} its MTU {mtu} back"),
            Self::ForgetMtu { eni } => write!(f, "forget the MTU that {eni} was found with"),
            Self::SetChannels { name, channels, .. } => {
                write!(f, "set the channels of {name} to {channels}")
            }
            Self::RestoreChannels { name, channels, .. } => {
                write!(f, "give {name} its {channels} channels back")
            }
            Self::ForgetChannels { eni } => {
                write!(f, "forget the channels that {eni} was found with")
            }
            Self::AttachGuard {
                eni, name, guard, ..
            } => {
                let (ingress, mode) = (guard.ingress, guard.config.mode);
                write!(f, "guard {name} for {eni} ({ingress:?}, {mode:?}")?;
                match guard.steering.len() {
                    0 => f.write_str(")"),
                    rules => write!(f, ", {rules} steering rules)"),
                }
            }
            Self::ReplaceGuard { eni, guard } => write!(
                f,
                "replace the guard of {eni} in its pod ({:?}, {} addresses, {} steering rules)",
                guard.config.mode,
                guard.config.addresses.len(),
                guard.steering.len()
            ),
            Self::ConfigureGuard { eni, config } => write!(
                f,
                "configure the guard of {eni} ({:?}, {} addresses)",
                config.mode,
                config.addresses.len()
            ),
            Self::SetUp { name, .. } => write!(f, "set {name} up"),
            Self::DetachGuard { eni } => write!(f, "remove the guard of {eni}"),
            Self::RemovePod { eni, interface } => {
                write!(f, "forget the pod behind interface {interface} on {eni}")
            }
            Self::Network(change) => change.fmt(f),
            Self::Device(step) => step.fmt(f),
        }
    }
}
