//! Says what the kernel shows of one ENI, in the words of the API.
//!
//! Pure: it reports what was observed, never what was intended.

mod dpdk;

use std::time::Duration;

use eniway_api::{EgressCheck, Enforcement, NodePhase, NodeStatus, XdpMode, XdpStatus, conditions};

use crate::{
    bpf::{Attached, IngressMode, Mode, Obstacle, WantedIngress, steering::Action},
    desired::{Desired, Unreadable, Wish},
    observe::{Interface, Presence},
    plan::{Observed, decide, is_in_pod, is_in_use, network::overruled, preflight::Path, steer},
};

/// How long an interface may be missing before that is called a failure.
///
/// Hot plug takes 1 to 5 seconds on EC2, and ec2-net-utils waits as long for IMDS; the rest is room
/// for a busy node.
pub const MISSING: Duration = Duration::from_secs(60);

/// Why an interface is not `Ready`: the word in the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// EC2 has not told the ENI's address yet.
    WaitingForEc2,
    /// The kernel does not show the interface.
    InterfaceNotFound,
    /// Several interfaces bear its address.
    InterfaceAmbiguous,
    /// A pod has it.
    InUse,
    /// Another program is attached where ours should be.
    ForeignProgram,
    /// The driver or the kernel does not take the program.
    ProgramRefused,
    /// The MTU is larger than the driver takes with XDP.
    XdpUnsupportedMtu,
    /// More channels are in use than the driver takes with XDP.
    XdpUnsupportedChannels,
    /// A steering rule cannot work on the interface.
    SteeringRefused,
    /// The kernel refuses a name, an address, a route, a rule or a setting.
    NetworkRefused,
    /// The node's own rp_filter counts and not the interface's.
    RpFilterOverruled,
    /// There are more addresses than the map holds.
    MapFull,
    /// The pins' folder is not on a bpffs, or not ours to write.
    BpffsUnavailable,
    /// The kernel refuses to set the interface up.
    SetUpFailed,
    /// The driver refuses the MTU.
    MtuRefused,
    /// The driver refuses the number of channels.
    ChannelsRefused,
    /// The guard could not be attached, configured or removed.
    GuardFailed,
    /// `dpdkPCIAddress` is not the interface's.
    PciAddressMismatch,
    /// The driver for DPDK is missing, or the interface's is not an ENI's.
    DriverUnsuitable,
    /// No IOMMU keeps the device from the node's memory, and that is not allowed.
    NoIommu,
    /// Its IOMMU group has devices of the kernel.
    IommuGroupShared,
    /// The kernel refuses to change the driver.
    DriverRefused,
    /// Pods cannot ask for a resource of this name.
    ResourceNameInvalid,
    /// A newer release wrote the record.
    AgentTooOld,
}

/// The last attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub message: String,
}

/// All that the status of one record says.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub wish: &'a Wish,
    pub observed: Observed<'a>,
    /// Whether the plan still holds an action.
    pub unfinished: bool,
    pub failure: Option<&'a Failure>,
    /// Why the ingress check is not where it was wanted.
    pub xdp_reason: Option<&'a str>,
    /// How long the interface has been looked for.
    pub missing: Duration,
    pub generation: Option<i64>,
    /// Where the metadata has long differed from the record.
    pub difference: Option<&'a str>,
    /// What was said before.
    pub last: Option<&'a NodeStatus>,
}

#[must_use]
pub fn status(situation: &Situation<'_>) -> NodeStatus {
    let observed = &situation.observed;
    let status = match (situation.wish, observed.presence) {
        (Wish::Wait, _) => explain(
            NodePhase::Pending,
            Reason::WaitingForEc2,
            "EC2 has not told the address of the interface yet",
        ),
        (Wish::Release { eni, force, .. }, _) => match eni {
            Some(_) if is_anything_left(situation, *force) => releasing(situation, *force),
            _ => NodeStatus {
                phase: NodePhase::Released,
                released: true,
                ..NodeStatus::default()
            },
        },
        (Wish::Provide(desired), Presence::Ambiguous(names)) => ambiguous(desired, names),
        (Wish::Provide(desired), presence) => match (&desired.device.binding, presence) {
            (Some(binding), _) => dpdk::handed_over(situation, desired, binding),
            (None, Presence::Present(interface)) => {
                let status = provided(situation, desired, interface);
                dpdk::with_device(status, situation, desired, Some(interface))
            }
            (None, _) if observed.device.kept.is_some() => {
                dpdk::given_back(situation, NodePhase::Configuring)
            }
            (None, _) if is_in_pod(observed) => in_pod(situation, desired),
            (None, _) => missing(desired, situation.missing),
        },
    };
    NodeStatus {
        observed_generation: situation.generation,
        metadata_difference: situation.difference.map(str::to_owned),
        ..status
    }
}

fn in_pod(situation: &Situation<'_>, desired: &Desired) -> NodeStatus {
    let observed = &situation.observed;
    let status = settled(situation.failure, NodePhase::InPod);
    let status = with_last_look(status, situation.last);
    let status = with_guard(status, observed, situation.xdp_reason);
    let lost = observed.attached.filter(|it| it.egress.is_none());
    let status = NodeStatus {
        egress_check: lost.map(|_| EgressCheck::Lost).or(status.egress_check),
        ..status
    };
    dpdk::with_device(status, situation, desired, None)
}

fn ambiguous(desired: &Desired, names: &[String]) -> NodeStatus {
    let message = format!(
        "{} all have the MAC address {}; remove all but the ENI",
        names.join(", "),
        desired.mac
    );
    explain(NodePhase::Failed, Reason::InterfaceAmbiguous, &message)
}

/// Whether something that the agent made, or changed, is still there, or a pod has the device.
fn is_anything_left(situation: &Situation<'_>, force: bool) -> bool {
    let observed = &situation.observed;
    observed.attached.is_some()
        || observed.device.kept.is_some()
        || observed.found_mtu.is_some()
        || observed.found_channels.is_some()
        || (!force && !observed.device.holders.is_empty())
        || situation.unfinished
}

/// The answer to a record that this release cannot read.
#[must_use]
pub fn unreadable(record: &Unreadable) -> NodeStatus {
    let message = format!(
        "this agent ({}) cannot read the record ({}); upgrade the agent",
        env!("CARGO_PKG_VERSION"),
        record.error
    );
    NodeStatus {
        observed_generation: record.generation,
        ..explain(NodePhase::Failed, Reason::AgentTooOld, &message)
    }
}

/// The answer to a release while nobody can see what is left.
#[must_use]
pub fn unreleased(failure: &Failure, generation: Option<i64>) -> NodeStatus {
    NodeStatus {
        observed_generation: generation,
        ..explain(NodePhase::Releasing, failure.reason, &failure.message)
    }
}

fn provided(situation: &Situation<'_>, desired: &Desired, interface: &Interface) -> NodeStatus {
    let phase = match situation.unfinished {
        true => NodePhase::Configuring,
        false => NodePhase::Ready,
    };
    let decision = decide(desired, interface, &situation.observed);
    let refused = match &decision.path {
        Path::Refused(obstacle, why) => Some(Failure {
            reason: Reason::of(*obstacle),
            message: format!("native XDP on {}: {why}", interface.name),
        }),
        Path::Native { .. } | Path::Generic | Path::Tc(_) => None,
    };
    let unsteered = unsteered(situation, desired, interface);
    let overruled = overruled(&desired.network, situation.observed.network);
    let overruled = overruled.map(|message| Failure {
        reason: Reason::RpFilterOverruled,
        message,
    });
    let status = NodeStatus {
        interface_name: Some(interface.name.clone()),
        pci_address: interface.pci_address.clone(),
        driver: interface.driver.clone(),
        mtu: Some(interface.mtu),
        ..settled(
            situation
                .failure
                .or(refused.as_ref())
                .or(unsteered.as_ref())
                .or(overruled.as_ref()),
            phase,
        )
    };
    let reason = decision.reason();
    let reason = reason.as_deref().or(situation.xdp_reason);
    with_guard(status, &situation.observed, reason)
}

/// What is to be said of steering rules that do not work; also of those that the driver turned out not to allow,
/// when it refused XDP.
fn unsteered(
    situation: &Situation<'_>,
    desired: &Desired,
    interface: &Interface,
) -> Option<Failure> {
    let observed = &situation.observed;
    let mut ingress = decide(desired, interface, observed).ingress(desired.ingress);
    let hook = observed.attached.and_then(|attached| attached.ingress);
    if hook.is_some_and(|hook| hook.mode == IngressMode::Tc) {
        ingress = WantedIngress::Tc;
    }
    let refused = steer(desired, ingress, interface, observed).refused;
    let (first, others) = refused.split_first()?;
    let more = match others.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(Failure {
        reason: Reason::SteeringRefused,
        message: format!("{first}; its packets go to the stack{more}"),
    })
}

/// `phase`, unless something failed.
fn settled(failure: Option<&Failure>, phase: NodePhase) -> NodeStatus {
    match failure {
        Some(failure) => explain(NodePhase::Failed, failure.reason, &failure.message),
        None => NodeStatus {
            phase,
            ..NodeStatus::default()
        },
    }
}

/// In a pod the interface cannot be looked at: what it was called here, and what device it is, stands.
fn with_last_look(status: NodeStatus, last: Option<&NodeStatus>) -> NodeStatus {
    let last = last.cloned().unwrap_or_default();
    NodeStatus {
        interface_name: last.interface_name,
        pci_address: last.pci_address,
        driver: last.driver,
        ..status
    }
}

fn with_guard(status: NodeStatus, observed: &Observed<'_>, reason: Option<&str>) -> NodeStatus {
    let ingress = observed.attached.and_then(ingress_mode);
    let enforcement = observed
        .in_force
        .filter(|_| observed.attached.is_some())
        .map(|in_force| enforcement(in_force.config.mode));
    let rules = observed
        .in_force
        .map_or(&[][..], |in_force| &in_force.steering);
    let has_sockets = rules
        .iter()
        .any(|rule| matches!(rule.action, Action::Socket(_)));
    NodeStatus {
        egress_check: has_sockets.then_some(EgressCheck::VpcOnly),
        xdp: ingress.map(|mode| XdpStatus {
            mode,
            reason: reason.map(str::to_owned),
        }),
        enforcement,
        ..status
    }
}

fn releasing(situation: &Situation<'_>, force: bool) -> NodeStatus {
    let observed = &situation.observed;
    match situation.failure.is_none() && is_in_use(observed) && !force {
        true => explain(NodePhase::Releasing, Reason::InUse, &in_use(observed)),
        false => dpdk::given_back(situation, NodePhase::Releasing),
    }
}

/// Whoever keeps the interface from being released.
fn in_use(observed: &Observed<'_>) -> String {
    let pods = observed.attached.map_or(&[][..], |attached| &attached.pods);
    let addresses = pods.iter().flat_map(|pod| &pod.addresses);
    let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
    let who = match addresses.as_slice() {
        [] => "the interface is inside a pod; it is released when the pod gives it back".to_owned(),
        addresses => format!(
            "pods have its addresses {}; it is released when they have ended",
            addresses.join(", ")
        ),
    };
    format!("{who}, or when the record is annotated eniway.io/force-release=true")
}

fn missing(desired: &Desired, since: Duration) -> NodeStatus {
    let phase = match since >= MISSING {
        true => NodePhase::Failed,
        false => NodePhase::Pending,
    };
    let message = format!(
        "no interface with the MAC address {} in the node's namespace; if EC2 shows {} as attached, \
         look for the device in lspci and the kernel log",
        desired.mac, desired.eni
    );
    explain(phase, Reason::InterfaceNotFound, &message)
}

fn explain(phase: NodePhase, reason: Reason, message: &str) -> NodeStatus {
    NodeStatus {
        phase,
        reason: Some(reason.as_str().to_owned()),
        message: Some(message.to_owned()),
        ..NodeStatus::default()
    }
}

fn ingress_mode(attached: &Attached) -> Option<XdpMode> {
    let hook = attached.ingress.as_ref()?;
    Some(match hook.mode {
        IngressMode::XdpNative => XdpMode::Native,
        IngressMode::XdpGeneric => XdpMode::Generic,
        IngressMode::Tc => XdpMode::Tc,
    })
}

const fn enforcement(mode: Mode) -> Enforcement {
    match mode {
        Mode::Enforce => Enforcement::Enforce,
        Mode::Audit => Enforcement::Audit,
        Mode::Off => Enforcement::Off,
    }
}

impl Reason {
    /// What a driver's no means to the user.
    #[must_use]
    pub const fn of(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Mtu => Self::XdpUnsupportedMtu,
            Obstacle::Channels => Self::XdpUnsupportedChannels,
            Obstacle::Driver => Self::ProgramRefused,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitingForEc2 => "WaitingForEC2",
            Self::InterfaceNotFound => "InterfaceNotFound",
            Self::InterfaceAmbiguous => "InterfaceAmbiguous",
            Self::InUse => "InUse",
            Self::ForeignProgram => "ForeignProgram",
            Self::ProgramRefused => "ProgramRefused",
            Self::XdpUnsupportedMtu => "XDPUnsupportedMTU",
            Self::XdpUnsupportedChannels => "XDPUnsupportedChannels",
            Self::SteeringRefused => "SteeringRefused",
            Self::NetworkRefused => "NetworkRefused",
            Self::RpFilterOverruled => "RPFilterOverruled",
            Self::MapFull => "MapFull",
            Self::BpffsUnavailable => "BpffsUnavailable",
            Self::SetUpFailed => "SetUpFailed",
            Self::MtuRefused => "MTURefused",
            Self::ChannelsRefused => "ChannelsRefused",
            Self::GuardFailed => "GuardFailed",
            Self::PciAddressMismatch => "PCIAddressMismatch",
            Self::DriverUnsuitable => "DriverUnsuitable",
            Self::NoIommu => "NoIOMMU",
            Self::IommuGroupShared => "IOMMUGroupShared",
            Self::DriverRefused => "DriverRefused",
            Self::ResourceNameInvalid => "ResourceNameInvalid",
            Self::AgentTooOld => conditions::reason::AGENT_TOO_OLD,
        }
    }
}

#[cfg(test)]
mod tests;
