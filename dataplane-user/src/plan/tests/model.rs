//! A kernel with one ENI, as far as plans look at it.

use std::fmt::Write as _;

use super::*;
use crate::netlink::{Address, Device, Driver, Release, Route};

/// A kernel with one ENI, that does what the real one does with each action.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub(super) presence: Presence,
    pub(super) attached: Option<Attached>,
    pub(super) found_mtu: Option<u32>,
    pub(super) found_channels: Option<u32>,
    pub(super) in_force: Option<InForce>,
    pub(super) targets: Targets,
    pub(super) network: Shown,
    pub(super) links: BTreeSet<IfIndex>,
}

impl Kernel {
    pub(super) fn empty() -> Self {
        Self {
            presence: Presence::Absent,
            attached: None,
            found_mtu: None,
            found_channels: None,
            in_force: None,
            targets: Targets::default(),
            network: Shown::default(),
            links: BTreeSet::new(),
        }
    }

    pub(super) fn plugged(index: IfIndex, up: bool) -> Self {
        let interface = Interface {
            index,
            name: "ens6".to_owned(),
            other_names: Vec::new(),
            up,
            mtu: 1500,
            pci_address: None,
            driver: None,
            device: Device {
                kernel: Release(6, 18),
                ..Device::default()
            },
        };
        let network = Shown {
            sysctls: Sysctl::ALL.into_iter().map(|sysctl| (sysctl, 0)).collect(),
            ..Shown::default()
        };
        Self {
            presence: Presence::Present(interface),
            network,
            ..Self::empty()
        }
    }

    /// An ENA of the kernel's own.
    pub(super) fn ena(mtu: u32, current: u32) -> Self {
        let mut kernel = Self::plugged(3, true);
        let Presence::Present(interface) = &mut kernel.presence else {
            unreachable!()
        };
        interface.mtu = mtu;
        interface.device = Device {
            driver: Some(Driver {
                name: "ena".to_owned(),
                version: "6.8.0".to_owned(),
            }),
            channels: Some(Channels { current, max: 8 }),
            features: None,
            kernel: Release(6, 8),
            is_distrusted: false,
        };
        kernel
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
            pods: self
                .attached
                .map_or_else(Vec::new, |attached| attached.pods),
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
                found_channels: self.found_channels,
                in_force: self.in_force.as_ref(),
                targets: &self.targets,
                network: &self.network,
                links: &self.links,
                device: &dpdk::Shown::default(),
            },
        )
    }

    pub(super) fn apply(&mut self, action: &Action) {
        let attached = self.attached.as_ref();
        let is_native = attached
            .and_then(|attached| attached.ingress)
            .is_some_and(|hook| hook.mode == IngressMode::XdpNative);
        // An ENA of the kernel's own lets nothing grow while it has an XDP program.
        let is_cramped = is_native && is_ena(&self.presence);
        match (action, &mut self.presence) {
            (Action::SetMtu { found, mtu, .. }, Presence::Present(interface)) => {
                assert_eq!(*found, interface.mtu);
                assert!(
                    *mtu <= interface.mtu || !is_cramped,
                    "the driver lets it grow"
                );
                self.found_mtu.get_or_insert(*found);
                interface.mtu = *mtu;
            }
            (Action::RestoreMtu { mtu, .. }, Presence::Present(interface)) => {
                assert!(
                    *mtu <= interface.mtu || !is_cramped,
                    "the driver lets it grow"
                );
                assert_eq!(self.found_mtu.take(), Some(*mtu));
                interface.mtu = *mtu;
            }
            (Action::ForgetMtu { .. }, _) => {
                assert!(self.found_mtu.take().is_some(), "there is an MTU to forget");
            }
            (
                Action::SetChannels {
                    found, channels, ..
                },
                Presence::Present(interface),
            ) => {
                let now = interface.device.channels.as_mut().unwrap();
                assert_eq!(*found, now.current);
                self.found_channels.get_or_insert(*found);
                now.current = *channels;
            }
            (Action::RestoreChannels { channels, .. }, Presence::Present(interface)) => {
                assert!(!is_cramped, "the driver lets them grow");
                assert_eq!(self.found_channels.take(), Some(*channels));
                interface.device.channels.as_mut().unwrap().current = *channels;
            }
            (Action::ForgetChannels { .. }, _) => {
                assert!(self.found_channels.take().is_some());
            }
            (Action::Network(change), _) => self.change(change),
            (Action::SetUp { .. }, Presence::Present(interface)) => interface.up = true,
            (Action::AttachGuard { index, guard, .. }, Presence::Present(interface)) => {
                assert_eq!(*index, interface.index);
                let mode = match guard.ingress {
                    WantedIngress::XdpAuto | WantedIngress::XdpNative => {
                        assert_fits(interface);
                        IngressMode::XdpNative
                    }
                    WantedIngress::XdpGeneric => IngressMode::XdpGeneric,
                    WantedIngress::Tc => IngressMode::Tc,
                };
                *self = self.clone().guarded(*index);
                let ingress = self.attached.as_mut().unwrap().ingress.as_mut();
                ingress.unwrap().mode = mode;
                self.in_force = Some(InForce {
                    config: guard.config.clone(),
                    attached: Some((*index, guard.ingress)),
                    steering: guard.steering.clone(),
                });
            }
            (Action::ReplaceGuard { guard, .. }, Presence::Absent) => {
                assert!(self.attached.is_some(), "there is a guard to replace");
                self.in_force = Some(InForce {
                    config: guard.config.clone(),
                    attached: None,
                    steering: guard.steering.clone(),
                });
            }
            (Action::ConfigureGuard { config, .. }, _) => {
                assert!(self.attached.is_some(), "there is a guard to configure");
                let before = self.in_force.take();
                self.in_force = Some(InForce::configured(before, config.clone()));
            }
            (Action::RemovePod { interface, .. }, _) => {
                let pods = &mut self.attached.as_mut().unwrap().pods;
                let before = pods.len();
                pods.retain(|pod| pod.interface != *interface);
                assert_eq!(pods.len() + 1, before, "there is a pod to remove");
            }
            (Action::DetachGuard { .. }, _) => {
                self.attached = None;
                self.in_force = None;
            }
            (action, presence) => panic!("{action} with {presence:?}"),
        }
    }

    /// Does as the kernel does: nothing twice, no route without its address, none while the interface is down.
    fn change(&mut self, change: &Change) {
        let Shown {
            stack,
            sysctls,
            found,
            name: given,
            is_unmanaged,
            ..
        } = &mut self.network;
        match change {
            Change::AddName { name, .. } => {
                let Presence::Present(interface) = &mut self.presence else {
                    panic!("{change} of an interface that is not here")
                };
                assert!(!interface.is_named(name));
                interface.other_names.push(name.clone());
                *given = Some(name.clone());
            }
            Change::RemoveName { name, .. } => {
                let Presence::Present(interface) = &mut self.presence else {
                    panic!("{change} of an interface that is not here")
                };
                take(&mut interface.other_names, name);
                *given = None;
            }
            Change::ForgetName { .. } => assert!(given.take().is_some()),
            Change::Set {
                sysctl,
                found: before,
                value,
                ..
            } => {
                found.entry(*sysctl).or_insert(*before);
                assert_ne!(sysctls.insert(*sysctl, *value), Some(*value));
            }
            Change::Restore { sysctl, value, .. } => {
                assert_eq!(found.remove(sysctl), Some(*value));
                sysctls.insert(*sysctl, *value);
            }
            Change::Forget { sysctl, .. } => assert!(found.remove(sysctl).is_some()),
            Change::AddAddress { index, address, .. } => {
                let known = |one: &Address| (one.interface, one.address) == (*index, *address);
                assert!(!stack.addresses.iter().any(known));
                stack.addresses.push(Address {
                    interface: *index,
                    address: *address,
                    ours: true,
                });
            }
            Change::RemoveAddress { index, address, .. } => {
                let before = stack.addresses.len();
                stack.addresses.retain(|one| {
                    (one.interface, one.address, one.ours) != (*index, *address, true)
                });
                assert_eq!(stack.addresses.len() + 1, before, "{change}");
            }
            Change::AddRoute(route) => {
                assert!(matches!(&self.presence, Presence::Present(interface) if interface.up));
                let mut addresses = stack.addresses.iter();
                assert!(addresses.any(|one| Some(one.address.addr()) == route.source));
                let same =
                    |one: &Route| (one.table, one.destination) == (route.table, route.destination);
                stack.routes.retain(|one| !same(one));
                stack.routes.push(*route);
            }
            Change::RemoveRoute(route) => take(&mut stack.routes, route),
            Change::AddRule(rule) => {
                assert!(!stack.rules.contains(rule));
                stack.rules.push(*rule);
            }
            Change::RemoveRule(rule) => take(&mut stack.rules, rule),
            Change::KeepSource(source) => {
                assert!(stack.sources.translated && !stack.sources.kept.contains(source));
                stack.sources.kept.push(source.clone());
            }
            Change::Unmanage { .. } => assert_eq!(is_unmanaged.replace(true), Some(false)),
            Change::Manage { .. } => assert_eq!(is_unmanaged.replace(false), Some(true)),
            Change::FreeSource(source) => take(&mut stack.sources.kept, source),
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

/// Removes what must be there.
fn take<T: PartialEq>(from: &mut Vec<T>, what: &T) {
    let place = from.iter().position(|one| one == what);
    from.remove(place.expect("it is there"));
}

/// An ENA takes no program while its MTU is too large or too many channels are in use.
fn assert_fits(interface: &Interface) {
    let Some(Channels { current, max }) = interface.device.channels else {
        return;
    };
    assert!(
        interface.mtu <= preflight::SINGLE_BUFFER_MTU,
        "{}",
        interface.mtu
    );
    assert!(2 * current <= max, "{current} of {max} channels");
}

fn is_ena(presence: &Presence) -> bool {
    matches!(presence, Presence::Present(interface) if interface.device.driver.is_some())
}
