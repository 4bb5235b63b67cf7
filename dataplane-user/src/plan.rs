//! Decides what the kernel must do next for one ENI.
//!
//! Pure: no clock, no netlink, no `async`. A plan holds only what can be done now; the next round
//! sees the result and goes on. Nothing left to do is an empty plan.

use std::{collections::BTreeMap, fmt};

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
    /// The MTU before ours; absent where it was not changed.
    pub found_mtu: Option<u32>,
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
            Presence::Absent => take_away(&desired.eni, observed),
            Presence::Ambiguous(_) => Vec::new(),
        },
        Wish::Release { eni, force, .. } => {
            if is_in_pod(observed) && !force {
                return Vec::new();
            }
            let eni = eni.as_ref();
            eni.map_or_else(Vec::new, |eni| take_away(eni, observed))
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
    match (desired.mtu, observed.found_mtu) {
        (Some(mtu), _) if mtu != interface.mtu => actions.push(Action::SetMtu {
            eni: desired.eni.clone(),
            index,
            name: name.clone(),
            found: interface.mtu,
            mtu,
        }),
        (None, Some(mtu)) => actions.push(restore(&desired.eni, interface, mtu)),
        _ => {}
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

/// The guard first, because native XDP limits the MTU; then the MTU, if the interface is here.
fn take_away(eni: &EniId, observed: &Observed<'_>) -> Vec<Action> {
    let eni = eni.clone();
    match (observed.attached, observed.found_mtu, observed.presence) {
        (Some(_), _, _) => vec![Action::DetachGuard { eni }],
        (None, None, _) => Vec::new(),
        (None, Some(mtu), Presence::Present(interface)) => {
            vec![restore(&eni, interface, mtu)]
        }
        (None, Some(_), _) => vec![Action::ForgetMtu { eni }],
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

/// Removes what bpffs holds for ENIs that no record knows.
///
/// `attached` and `found_mtus` are what is there and `recorded` every ENI of every record, of which
/// all must have been seen: what a slow API server has not told yet is not an orphan.
#[must_use]
pub fn orphans(
    attached: &[Attached],
    found_mtus: &BTreeMap<String, u32>,
    recorded: &[EniId],
) -> Vec<Action> {
    let unknown =
        |eni: &String| Some(EniId::from(eni.as_str())).filter(|eni| !recorded.contains(eni));
    let guards = attached
        .iter()
        .filter_map(|attached| unknown(&attached.eni));
    let mtus = found_mtus.keys().filter_map(unknown);
    guards
        .map(|eni| Action::DetachGuard { eni })
        .chain(mtus.map(|eni| Action::ForgetMtu { eni }))
        .collect()
}

impl Action {
    /// The name in metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::SetMtu { .. } => "set_mtu",
            Self::RestoreMtu { .. } => "restore_mtu",
            Self::ForgetMtu { .. } => "forget_mtu",
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
            Self::RestoreMtu { name, mtu, .. } => write!(f, "give {name} its MTU {mtu} back"),
            Self::ForgetMtu { eni } => write!(f, "forget the MTU that {eni} was found with"),
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
