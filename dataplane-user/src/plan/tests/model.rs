//! A kernel with one ENI, as far as plans look at it.

use std::fmt::Write as _;

use super::*;

/// A kernel with one ENI, that does what the real one does with each action.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub(super) presence: Presence,
    pub(super) attached: Option<Attached>,
    pub(super) found_mtu: Option<u32>,
    pub(super) in_force: Option<InForce>,
}

impl Kernel {
    pub(super) fn empty() -> Self {
        Self {
            presence: Presence::Absent,
            attached: None,
            found_mtu: None,
            in_force: None,
        }
    }

    pub(super) fn plugged(index: IfIndex, up: bool) -> Self {
        let interface = Interface {
            index,
            name: "ens6".to_owned(),
            up,
            mtu: 1500,
            pci_address: None,
            driver: None,
        };
        Self {
            presence: Presence::Present(interface),
            ..Self::empty()
        }
    }

    pub(super) fn guarded(self, ifindex: u32) -> Self {
        let hook = Hook {
            mode: IngressMode::Tc,
            frags: false,
            program_id: 1,
        };
        let attached = Attached {
            eni: ENI.to_owned(),
            ifindex,
            ingress: Some(hook),
            egress: Some(hook),
        };
        Self {
            attached: Some(attached),
            ..self
        }
    }

    pub(super) fn plan(&self, wish: &Wish) -> Vec<Action> {
        plan(
            wish,
            &Observed {
                presence: &self.presence,
                attached: self.attached.as_ref(),
                found_mtu: self.found_mtu,
                in_force: self.in_force.as_ref(),
            },
        )
    }

    pub(super) fn apply(&mut self, action: &Action) {
        match (action, &mut self.presence) {
            (Action::SetMtu { found, mtu, .. }, Presence::Present(interface)) => {
                assert_eq!(*found, interface.mtu);
                self.found_mtu.get_or_insert(*found);
                interface.mtu = *mtu;
            }
            (Action::RestoreMtu { mtu, .. }, Presence::Present(interface)) => {
                assert_eq!(self.found_mtu.take(), Some(*mtu));
                interface.mtu = *mtu;
            }
            (Action::ForgetMtu { .. }, _) => {
                assert!(self.found_mtu.take().is_some(), "there is an MTU to forget");
            }
            (Action::SetUp { .. }, Presence::Present(interface)) => interface.up = true,
            (Action::AttachGuard { index, guard, .. }, Presence::Present(interface)) => {
                assert_eq!(*index, interface.index);
                *self = self.clone().guarded(*index);
                self.in_force = Some(InForce {
                    config: guard.config.clone(),
                    attached: Some((*index, guard.ingress)),
                });
            }
            (Action::ConfigureGuard { config, .. }, _) => {
                assert!(self.attached.is_some(), "there is a guard to configure");
                let attached = self
                    .in_force
                    .as_ref()
                    .and_then(|in_force| in_force.attached);
                let config = config.clone();
                self.in_force = Some(InForce { config, attached });
            }
            (Action::DetachGuard { .. }, _) => {
                self.attached = None;
                self.in_force = None;
            }
            (action, presence) => panic!("{action} with {presence:?}"),
        }
    }

    /// What a restart of the agent leaves.
    pub(super) fn restart(&mut self) {
        self.in_force = None;
    }

    /// All plans until there is nothing left to do, a line for each round.
    pub(super) fn converge(&mut self, wish: &Wish) -> String {
        let mut rounds = String::new();
        for _ in 0..5 {
            let actions = self.plan(wish);
            if actions.is_empty() {
                return rounds;
            }
            let words: Vec<String> = actions.iter().map(ToString::to_string).collect();
            writeln!(rounds, "{}", words.join("; ")).unwrap();
            actions.iter().for_each(|action| self.apply(action));
        }
        panic!("no end: {rounds}");
    }
}
