//! Decides what the kernel must do next for one ENI.
//!
//! Pure: no clock, no netlink, no `async`. A plan holds only what can be done now; the next round
//! sees the result and goes on. Nothing left to do is an empty plan.

use std::fmt;

use eniway_api::EniId;

use crate::{
    bpf::{Attached, Guard, GuardConfig, Mode, WantedIngress},
    desired::{Desired, Wish},
    netlink::IfIndex,
    observe::{Interface, Presence},
};

/// One change of the kernel, as data: `plan` writes it, `apply` carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    SetMtu {
        index: IfIndex,
        name: String,
        mtu: u32,
    },
    /// Attaches what is missing, replaces what is old, adopts the rest; no packet is lost.
    AttachGuard {
        eni: EniId,
        index: IfIndex,
        name: String,
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
}

/// What is known of one ENI in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed<'a> {
    pub presence: &'a Presence,
    /// What is pinned for it.
    pub attached: Option<&'a Attached>,
    /// What this process has put in force. After a restart nothing is: the first round attaches anew,
    /// which adopts what is there.
    pub in_force: Option<&'a InForce>,
}

/// What this process has put in force for one ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    pub config: GuardConfig,
    /// Where its programs were attached, and what was wanted then. Absent when only the settings of
    /// an older process's programs were changed, which can be done while a pod has the interface.
    pub attached: Option<(IfIndex, WantedIngress)>,
}

/// What to do next.
#[must_use]
pub fn plan(wish: &Wish, observed: &Observed<'_>) -> Vec<Action> {
    match wish {
        Wish::Wait => Vec::new(),
        Wish::Provide(desired) => match observed.presence {
            Presence::Present(interface) => provide(desired, interface, observed),
            Presence::Absent if is_in_pod(observed) => configure(desired, observed),
            // The device has gone, its pins have not.
            Presence::Absent => detach(Some(&desired.eni), observed),
            Presence::Ambiguous(_) => Vec::new(),
        },
        Wish::Release { eni, force, .. } => {
            if is_in_pod(observed) && !force {
                return Vec::new();
            }
            detach(eni.as_ref(), observed)
        }
    }
}

/// The interface lives, but not in this namespace: it was moved into a pod.
#[must_use]
pub fn is_in_pod(observed: &Observed<'_>) -> bool {
    *observed.presence == Presence::Absent
        && observed
            .attached
            .is_some_and(|attached| attached.ifindex != 0)
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

/// MTU first, because it decides whether native XDP is possible. Under Enforce no packet passes an
/// unguarded interface: it goes up when the guard is there.
fn provide(desired: &Desired, interface: &Interface, observed: &Observed<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let (index, name) = (interface.index, &interface.name);
    if let Some(mtu) = desired.mtu.filter(|mtu| *mtu != interface.mtu) {
        let name = name.clone();
        actions.push(Action::SetMtu { index, name, mtu });
    }
    let guarded = is_guarded(interface, observed);
    let attached_as_wished = observed
        .in_force
        .is_some_and(|in_force| in_force.attached == Some((index, desired.guard.ingress)));
    if guarded && attached_as_wished {
        actions.extend(configure(desired, observed));
    } else {
        actions.push(Action::AttachGuard {
            eni: desired.eni.clone(),
            index,
            name: name.clone(),
            guard: desired.guard.clone(),
        });
    }
    if !interface.up && (guarded || desired.guard.config.mode != Mode::Enforce) {
        let name = name.clone();
        actions.push(Action::SetUp { index, name });
    }
    actions
}

fn configure(desired: &Desired, observed: &Observed<'_>) -> Vec<Action> {
    let config = &desired.guard.config;
    match observed.in_force {
        Some(in_force) if in_force.config == *config => Vec::new(),
        _ => vec![Action::ConfigureGuard {
            eni: desired.eni.clone(),
            config: config.clone(),
        }],
    }
}

fn detach(eni: Option<&EniId>, observed: &Observed<'_>) -> Vec<Action> {
    match (eni, observed.attached) {
        (Some(eni), Some(_)) => vec![Action::DetachGuard { eni: eni.clone() }],
        _ => Vec::new(),
    }
}

/// Removes what is pinned for ENIs that no record knows.
///
/// `attached` is what the kernel shows and `recorded` every ENI of every record, of which all must
/// have been seen: what a slow API server has not told yet is not an orphan.
#[must_use]
pub fn orphans(attached: &[Attached], recorded: &[EniId]) -> Vec<Action> {
    attached
        .iter()
        .map(|attached| EniId::from(attached.eni.as_str()))
        .filter(|eni| !recorded.contains(eni))
        .map(|eni| Action::DetachGuard { eni })
        .collect()
}

impl Action {
    /// The name in metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::SetMtu { .. } => "set_mtu",
            Self::AttachGuard { .. } => "attach_guard",
            Self::ConfigureGuard { .. } => "configure_guard",
            Self::SetUp { .. } => "set_up",
            Self::DetachGuard { .. } => "detach_guard",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetMtu { name, mtu, .. } => write!(f, "set the MTU of {name} to {mtu}"),
            Self::AttachGuard {
                eni, name, guard, ..
            } => write!(
                f,
                "guard {name} for {eni} ({:?}, {:?})",
                guard.ingress, guard.config.mode
            ),
            Self::ConfigureGuard { eni, config } => write!(
                f,
                "configure the guard of {eni} ({:?}, {} addresses)",
                config.mode,
                config.addresses.len()
            ),
            Self::SetUp { name, .. } => write!(f, "set {name} up"),
            Self::DetachGuard { eni } => write!(f, "remove the guard of {eni}"),
        }
    }
}

#[cfg(test)]
mod tests;
