//! Decides what the kernel must do next for one ENI.
//!
//! Pure: no clock, no netlink, no `async`. A plan holds only what can be done now; the next round
//! sees the result and goes on. Nothing left to do is an empty plan.

mod action;
pub mod dpdk;
pub mod network;
pub mod networkd;
pub mod pods;
pub mod preflight;
pub mod sources;
pub mod steering;

use std::collections::{BTreeMap, BTreeSet};

use eniway_api::EniId;

pub use self::action::Action;
use self::{
    network::{Change, Shown},
    preflight::{Policy, Preflight},
    steering::{Place, Steering, Targets},
};
use crate::{
    bpf::{self, Attached, Guard, GuardConfig, IngressMode, Mode, WantedIngress},
    desired::{Desired, Network, Wish},
    netlink::{Channels, IfIndex},
    observe::{Interface, Presence},
    sysctl::Sysctl,
};

/// What is known of one ENI in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed<'a> {
    pub presence: &'a Presence,
    /// What is pinned for it.
    pub attached: Option<&'a Attached>,
    /// The MTU before ours; absent where it was not changed.
    pub found_mtu: Option<u32>,
    /// The channels in use before ours; absent where they were not changed.
    pub found_channels: Option<u32>,
    /// What this process has put in force. After a restart nothing is: the first round attaches anew,
    /// which adopts what is there.
    pub in_force: Option<&'a InForce>,
    /// What steering rules may use.
    pub targets: &'a Targets,
    /// What the node's network shows.
    pub network: &'a Shown,
    /// The node's links.
    pub links: &'a BTreeSet<IfIndex>,
    /// The PCI function.
    pub device: &'a dpdk::Shown,
}

/// What this process has put in force for one ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    pub config: GuardConfig,
    /// Where its programs were attached, and what was wanted then. Absent when they were replaced while a pod has the
    /// interface.
    pub attached: Option<(IfIndex, WantedIngress)>,
    /// The steering rules that its programs were loaded with.
    pub steering: Vec<bpf::steering::Rule>,
}

impl InForce {
    /// With other settings; programs and rules are as before.
    #[must_use]
    pub fn configured(before: Option<Self>, config: GuardConfig) -> Self {
        let (attached, steering) = match before {
            Some(before) => (before.attached, before.steering),
            None => (None, Vec::new()),
        };
        Self {
            config,
            attached,
            steering,
        }
    }
}

/// What to do next.
#[must_use]
pub fn plan(wish: &Wish, observed: &Observed<'_>) -> Vec<Action> {
    let mut actions = gone_pods(wish, observed);
    actions.extend(of_interface(wish, observed));
    networkd::around(wish, observed, actions)
}

/// Pods that ended without a word to the CNI plugin, which took their veths along.
fn gone_pods(wish: &Wish, observed: &Observed<'_>) -> Vec<Action> {
    let (Some(eni), Some(attached)) = (wish.eni(), observed.attached) else {
        return Vec::new();
    };
    let gone = attached
        .pods
        .iter()
        .filter(|pod| !observed.links.contains(&pod.interface));
    gone.map(|pod| Action::RemovePod {
        eni: eni.clone(),
        interface: pod.interface,
    })
    .collect()
}

fn of_interface(wish: &Wish, observed: &Observed<'_>) -> Vec<Action> {
    match wish {
        Wish::Wait => Vec::new(),
        Wish::Provide(desired) if desired.device.binding.is_some() => hand_over(desired, observed),
        Wish::Provide(desired) if observed.device.kept.is_some() => {
            back_to_the_kernel(&desired.eni, observed, false)
        }
        Wish::Provide(desired) => match observed.presence {
            Presence::Present(interface) => provide(desired, interface, observed),
            Presence::Absent if is_in_pod(observed) => {
                let rules = network::suspend(&desired.eni, &desired.network, observed.network);
                let rules = rules.into_iter().map(Action::Network);
                rules.chain(in_pod(desired, observed)).collect()
            }
            // The device has gone, its pins have not.
            Presence::Absent => take_away(&desired.eni, &desired.network, observed),
            Presence::Ambiguous(_) => Vec::new(),
        },
        Wish::Release {
            eni,
            force,
            network,
            ..
        } => {
            if (is_in_use(observed) || !observed.device.holders.is_empty()) && !force {
                return Vec::new();
            }
            let Some(eni) = eni else { return Vec::new() };
            let left = take_away(eni, network, observed);
            match left.is_empty() {
                true => back_to_the_kernel(eni, observed, *force),
                false => left,
            }
        }
    }
}

/// First all is taken away that an interface has of ours, then DPDK's driver gets the device.
fn hand_over(desired: &Desired, observed: &Observed<'_>) -> Vec<Action> {
    let (eni, device) = (&desired.eni, &desired.device);
    let Some(binding) = device.binding.as_ref().filter(|_| !is_in_use(observed)) else {
        return Vec::new();
    };
    if let Presence::Present(interface) = observed.presence
        && dpdk::refusal(device, binding, interface, observed.device).is_some()
    {
        return Vec::new();
    }
    let left = take_away(eni, &desired.network, observed);
    if !left.is_empty() {
        return left;
    }
    let step = dpdk::bind(eni, device, binding, observed.presence, observed.device);
    step.map(Action::Device).into_iter().collect()
}

fn back_to_the_kernel(eni: &EniId, observed: &Observed<'_>, force: bool) -> Vec<Action> {
    let step = dpdk::give_back(eni, observed.presence, observed.device, force);
    step.map(Action::Device).into_iter().collect()
}

/// The interface lives, but not in this namespace: it was moved into a pod.
#[must_use]
pub fn is_in_pod(observed: &Observed<'_>) -> bool {
    *observed.presence == Presence::Absent
        && observed
            .attached
            .is_some_and(|attached| attached.ifindex != 0)
}

/// A pod has the interface, or some have addresses of it.
#[must_use]
pub fn is_in_use(observed: &Observed<'_>) -> bool {
    let shared = observed
        .attached
        .is_some_and(|attached| !attached.pods.is_empty());
    shared || is_in_pod(observed)
}

/// Whether both programs are attached to `interface`.
#[must_use]
pub fn is_guarded(interface: &Interface, observed: &Observed<'_>) -> bool {
    observed.attached.is_some_and(|attached| {
        attached.ifindex == interface.index
            && attached.ingress.is_some()
            && attached.egress.is_some()
    })
}

/// Where packets that arrive at `interface` can be checked, and what must change for it.
#[must_use]
pub fn decide(desired: &Desired, interface: &Interface, observed: &Observed<'_>) -> Preflight {
    let policy = Policy {
        ingress: desired.ingress,
        mtu: desired.mtu_policy,
        channels: desired.channel_policy,
    };
    let channels = interface.device.channels.map(|now| Channels {
        current: observed.found_channels.unwrap_or(now.current),
        ..now
    });
    preflight::preflight(
        policy,
        &interface.device,
        wanted_mtu(desired, interface, observed),
        channels,
    )
}

/// Which of the steering rules can work on `interface`, while packets are checked at `ingress`.
#[must_use]
pub fn steer(
    desired: &Desired,
    ingress: WantedIngress,
    interface: &Interface,
    observed: &Observed<'_>,
) -> Steering {
    let place = Place {
        ingress,
        mode: desired.config.mode,
        channels: interface.device.channels,
        targets: observed.targets,
    };
    steering::steering(&desired.steering, place)
}

/// Whether this process's programs are in force, and the rules, is not known after a restart: they are replaced.
fn in_pod(desired: &Desired, observed: &Observed<'_>) -> Vec<Action> {
    let Some(hook) = observed.attached.and_then(|attached| attached.ingress) else {
        return configure(desired, observed);
    };
    let ingress = match hook.mode {
        IngressMode::XdpNative => WantedIngress::XdpNative,
        IngressMode::XdpGeneric => WantedIngress::XdpGeneric,
        IngressMode::Tc => WantedIngress::Tc,
    };
    // No interface of the node can be reached from there.
    let targets = Targets {
        cpus: observed.targets.cpus,
        ..Targets::default()
    };
    let place = Place {
        ingress,
        mode: desired.config.mode,
        channels: None,
        targets: &targets,
    };
    let steering = steering::steering(&desired.steering, place).rules;
    match observed.in_force {
        Some(in_force) if in_force.steering == steering => configure(desired, observed),
        _ => vec![Action::ReplaceGuard {
            eni: desired.eni.clone(),
            guard: Guard {
                ingress,
                config: desired.config.clone(),
                steering,
            },
        }],
    }
}

/// The MTU that the interface would have without XDP.
fn wanted_mtu(desired: &Desired, interface: &Interface, observed: &Observed<'_>) -> u32 {
    let wanted = desired.mtu.or(observed.found_mtu);
    wanted.unwrap_or(interface.mtu)
}

/// MTU and channels first, because they decide whether native XDP is possible; but a driver lets neither
/// grow while XDP is attached. Under Enforce no packet passes an unguarded interface: it goes up when
/// the guard is there.
fn provide(desired: &Desired, interface: &Interface, observed: &Observed<'_>) -> Vec<Action> {
    let decision = decide(desired, interface, observed);
    let ingress = decision.ingress(desired.ingress);
    let (index, name) = (interface.index, &interface.name);
    let mut changes: Vec<Action> = mtu(&decision, desired, interface, observed)
        .into_iter()
        .chain(channels(&decision, &desired.eni, interface, observed))
        .collect();
    let mut actions = Vec::new();
    let guarded = is_guarded(interface, observed);
    let steering = steer(desired, ingress, interface, observed).rules;
    let attached_as_wished = observed.in_force.is_some_and(|in_force| {
        in_force.attached == Some((index, ingress)) && in_force.steering == steering
    });
    if guarded && attached_as_wished {
        actions.extend(configure(desired, observed));
    } else {
        actions.push(Action::AttachGuard {
            eni: desired.eni.clone(),
            index,
            name: name.clone(),
            guard: Guard {
                ingress,
                config: desired.config.clone(),
                steering,
            },
            reason: decision.reason(),
        });
    }
    let leaves_the_driver =
        is_native(observed) && matches!(ingress, WantedIngress::Tc | WantedIngress::XdpGeneric);
    if leaves_the_driver {
        actions.append(&mut changes);
    } else {
        changes.append(&mut actions);
        actions = changes;
    }
    let pods = observed.attached.map_or(&[][..], |attached| &attached.pods);
    let pods: Vec<IfIndex> = pods.iter().map(|pod| pod.interface).collect();
    let (wanted, shown) = (&desired.network, observed.network);
    let network = network::provide(&desired.eni, wanted, interface, shown, &pods);
    actions.extend(network.into_iter().map(Action::Network));
    if !interface.up && (guarded || desired.config.mode != Mode::Enforce) {
        let name = name.clone();
        actions.push(Action::SetUp { index, name });
    }
    actions
}

fn is_native(observed: &Observed<'_>) -> bool {
    observed
        .attached
        .and_then(|attached| attached.ingress)
        .is_some_and(|hook| hook.mode == IngressMode::XdpNative)
}

/// What makes the MTU what it should be. One that is lowered may be lower still, unless the spec says it.
fn mtu(
    decision: &Preflight,
    desired: &Desired,
    interface: &Interface,
    observed: &Observed<'_>,
) -> Option<Action> {
    let wanted = wanted_mtu(desired, interface, observed);
    let mtu = match (decision.lower_mtu, desired.mtu) {
        (None, _) => wanted,
        (Some(most), Some(_)) => most,
        (Some(most), None) => most.min(interface.mtu),
    };
    if desired.mtu.is_none() && observed.found_mtu == Some(mtu) {
        return Some(restore(&desired.eni, interface, mtu));
    }
    (mtu != interface.mtu).then(|| Action::SetMtu {
        eni: desired.eni.clone(),
        index: interface.index,
        name: interface.name.clone(),
        found: interface.mtu,
        mtu,
    })
}

/// What makes the channels as many as they should be. Fewer than half of them are nobody's harm.
fn channels(
    decision: &Preflight,
    eni: &EniId,
    interface: &Interface,
    observed: &Observed<'_>,
) -> Option<Action> {
    let now = interface.device.channels?.current;
    match (decision.reduce_channels, observed.found_channels) {
        (Some(half), _) => (now > half).then(|| Action::SetChannels {
            eni: eni.clone(),
            name: interface.name.clone(),
            found: now,
            channels: half,
        }),
        (None, Some(found)) => Some(restore_channels(eni, interface, found)),
        (None, None) => None,
    }
}

fn configure(desired: &Desired, observed: &Observed<'_>) -> Vec<Action> {
    let config = &desired.config;
    match observed.in_force {
        Some(in_force) if in_force.config == *config => Vec::new(),
        _ => vec![Action::ConfigureGuard {
            eni: desired.eni.clone(),
            config: config.clone(),
        }],
    }
}

/// The addresses first, while the guard is there; then the guard, because native XDP limits MTU and channels; then
/// those, if the interface is here.
fn take_away(eni: &EniId, wanted: &Network, observed: &Observed<'_>) -> Vec<Action> {
    let network = network::withdraw(eni, wanted, observed.presence, observed.network);
    let network = network.into_iter().map(Action::Network);
    if observed.attached.is_some() {
        let guard = Action::DetachGuard { eni: eni.clone() };
        return network.chain([guard]).collect();
    }
    let here = match observed.presence {
        Presence::Present(interface) => Some(interface),
        Presence::Absent | Presence::Ambiguous(_) => None,
    };
    let mtu = observed.found_mtu.map(|mtu| match here {
        Some(interface) => restore(eni, interface, mtu),
        None => Action::ForgetMtu { eni: eni.clone() },
    });
    let channels = observed.found_channels.map(|channels| match here {
        Some(interface) => restore_channels(eni, interface, channels),
        None => Action::ForgetChannels { eni: eni.clone() },
    });
    network.chain(mtu).chain(channels).collect()
}

fn restore_channels(eni: &EniId, interface: &Interface, channels: u32) -> Action {
    Action::RestoreChannels {
        eni: eni.clone(),
        name: interface.name.clone(),
        channels,
    }
}

fn restore(eni: &EniId, interface: &Interface, mtu: u32) -> Action {
    Action::RestoreMtu {
        eni: eni.clone(),
        index: interface.index,
        name: interface.name.clone(),
        mtu,
    }
}

/// What there was before ours, by ENI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub mtus: BTreeMap<String, u32>,
    pub channels: BTreeMap<String, u32>,
    pub sysctls: BTreeMap<Sysctl, BTreeMap<String, u32>>,
    /// The alternative names that they were given.
    pub names: BTreeMap<String, String>,
    /// The PCI functions that they were.
    pub devices: BTreeMap<String, dpdk::Kept>,
    /// Those that systemd-networkd was told to leave alone; absent where there is none.
    pub unmanaged: Option<BTreeSet<String>>,
}

/// Removes what bpffs holds, and what systemd-networkd was told, of ENIs that no record knows.
///
/// `attached` and what was found are what is there and `recorded` every ENI of every record, of which
/// all must have been seen: what a slow API server has not told yet is not an orphan.
#[must_use]
pub fn orphans(attached: &[Attached], found: &Found, recorded: &[EniId]) -> Vec<Action> {
    let unknown =
        |eni: &String| Some(EniId::from(eni.as_str())).filter(|eni| !recorded.contains(eni));
    let guards = attached
        .iter()
        .filter_map(|attached| unknown(&attached.eni));
    let mtus = found.mtus.keys().filter_map(unknown);
    let channels = found.channels.keys().filter_map(unknown);
    let names = found.names.keys().filter_map(unknown);
    let unmanaged = found.unmanaged.iter().flatten().filter_map(unknown);
    let settings = found.sysctls.iter().flat_map(|(sysctl, values)| {
        let enis = values.keys().filter_map(unknown);
        enis.map(|eni| {
            Action::Network(Change::Forget {
                eni,
                sysctl: *sysctl,
            })
        })
    });
    guards
        .map(|eni| Action::DetachGuard { eni })
        .chain(mtus.map(|eni| Action::ForgetMtu { eni }))
        .chain(channels.map(|eni| Action::ForgetChannels { eni }))
        .chain(settings)
        .chain(names.map(|eni| Action::Network(Change::ForgetName { eni })))
        .chain(unmanaged.map(|eni| Action::Network(Change::Manage { eni })))
        .collect()
}

#[cfg(test)]
mod tests;
