use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::bpf::{Hook, IngressMode};

const ENI: &str = "eni-1";

fn desired(ingress: WantedIngress, mode: Mode) -> Desired {
    Desired {
        eni: ENI.into(),
        mac: eniway_api::MacAddress([2, 0, 0, 0, 0, 1]),
        mtu: None,
        guard: Guard {
            ingress,
            config: GuardConfig {
                mac: [2, 0, 0, 0, 0, 1],
                mode,
                source_dest_check: true,
                addresses: Vec::new(),
                subnets: Vec::new(),
            },
        },
    }
}

fn release(force: bool) -> Wish {
    Wish::Release {
        eni: Some(ENI.into()),
        mac: None,
        force,
    }
}

/// A kernel with one ENI, that does what the real one does with each action.
#[derive(Clone, Debug)]
struct Kernel {
    presence: Presence,
    attached: Option<Attached>,
    in_force: Option<InForce>,
}

impl Kernel {
    fn empty() -> Self {
        Self {
            presence: Presence::Absent,
            attached: None,
            in_force: None,
        }
    }

    fn plugged(index: IfIndex, up: bool) -> Self {
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

    fn guarded(self, ifindex: u32) -> Self {
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

    fn plan(&self, wish: &Wish) -> Vec<Action> {
        plan(
            wish,
            &Observed {
                presence: &self.presence,
                attached: self.attached.as_ref(),
                in_force: self.in_force.as_ref(),
            },
        )
    }

    fn apply(&mut self, action: &Action) {
        match (action, &mut self.presence) {
            (Action::SetMtu { mtu, .. }, Presence::Present(interface)) => interface.mtu = *mtu,
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
    fn restart(&mut self) {
        self.in_force = None;
    }

    /// All plans until there is nothing left to do, a line for each round.
    fn converge(&mut self, wish: &Wish) -> String {
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

fn check(mut kernel: Kernel, wish: &Wish, expected: &Expect) {
    expected.assert_eq(&kernel.converge(wish));
}

#[test]
fn under_enforce_an_interface_goes_up_only_when_it_is_guarded() {
    check(
        Kernel::plugged(3, false),
        &Wish::Provide(desired(WantedIngress::XdpAuto, Mode::Enforce)),
        &expect![[r#"
            guard ens6 for eni-1 (XdpAuto, Enforce)
            set ens6 up
        "#]],
    );
}

#[test]
fn under_audit_an_interface_goes_up_even_if_the_guard_is_refused() {
    check(
        Kernel::plugged(3, false),
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Audit)),
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Audit); set ens6 up
        "#]],
    );
}

#[test]
fn the_mtu_is_set_before_the_guard_and_only_when_asked_for() {
    let mut desired = desired(WantedIngress::XdpNative, Mode::Enforce);
    desired.mtu = Some(9001);
    check(
        Kernel::plugged(3, true),
        &Wish::Provide(desired),
        &expect![[r#"
            set the MTU of ens6 to 9001; guard ens6 for eni-1 (XdpNative, Enforce)
        "#]],
    );
}

#[test]
fn a_restart_attaches_once_more_which_adopts_what_is_there() {
    check(
        Kernel::plugged(3, true).guarded(3),
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce)),
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Enforce)
        "#]],
    );
}

#[test]
fn a_change_of_mode_loads_no_program() {
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&Wish::Provide(desired(
        WantedIngress::XdpAuto,
        Mode::Enforce,
    )));
    check(
        kernel,
        &Wish::Provide(desired(WantedIngress::XdpAuto, Mode::Audit)),
        &expect![[r#"
            configure the guard of eni-1 (Audit, 0 addresses)
        "#]],
    );
}

#[test]
fn another_interface_with_the_mac_is_guarded_anew() {
    let wish = Wish::Provide(desired(WantedIngress::Tc, Mode::Audit));
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&wish);
    kernel.presence = Kernel::plugged(4, true).presence;
    kernel.attached.as_mut().unwrap().ifindex = 0;
    check(
        kernel,
        &wish,
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Audit)
        "#]],
    );
}

#[test]
fn a_guard_that_someone_removed_comes_back() {
    let wish = Wish::Provide(desired(WantedIngress::Tc, Mode::Audit));
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&wish);
    kernel.attached.as_mut().unwrap().egress = None;
    check(
        kernel,
        &wish,
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Audit)
        "#]],
    );
}

#[test]
fn in_a_pod_only_the_settings_change() {
    let mut kernel = Kernel::empty().guarded(3);
    let enforce = Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce));
    expect![[r#"
        configure the guard of eni-1 (Enforce, 0 addresses)
    "#]]
    .assert_eq(&kernel.converge(&enforce));
    check(
        kernel,
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Audit)),
        &expect![[r#"
            configure the guard of eni-1 (Audit, 0 addresses)
        "#]],
    );
}

#[test]
fn what_a_device_left_behind_is_removed() {
    check(
        Kernel::empty().guarded(0),
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce)),
        &expect![[r#"
            remove the guard of eni-1
        "#]],
    );
}

#[test]
fn a_release_waits_for_the_pod_unless_forced() {
    check(Kernel::empty().guarded(3), &release(false), &expect![""]);
    check(
        Kernel::empty().guarded(3),
        &release(true),
        &expect![[r#"
            remove the guard of eni-1
        "#]],
    );
    check(
        Kernel::plugged(3, true).guarded(3),
        &release(false),
        &expect![[r#"
            remove the guard of eni-1
        "#]],
    );
    check(Kernel::plugged(3, true), &release(false), &expect![""]);
}

#[test]
fn an_ambiguous_interface_is_left_alone() {
    let presence = Presence::Ambiguous(vec!["a".to_owned(), "b".to_owned()]);
    let kernel = Kernel {
        presence,
        ..Kernel::empty()
    };
    check(
        kernel,
        &Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce)),
        &expect![""],
    );
}

#[test]
fn only_what_no_record_knows_is_an_orphan() {
    let attached = [
        Kernel::empty().guarded(3).attached.unwrap(),
        Attached {
            eni: "eni-2".to_owned(),
            ifindex: 0,
            ingress: None,
            egress: None,
        },
    ];
    let orphans = orphans(&attached, &[ENI.into()]);
    assert_eq!(
        orphans,
        [Action::DetachGuard {
            eni: "eni-2".into()
        }]
    );
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Enforce), Just(Mode::Audit), Just(Mode::Off)]
}

fn wishes() -> impl Strategy<Value = Wish> {
    let ingress = prop_oneof![
        Just(WantedIngress::XdpAuto),
        Just(WantedIngress::XdpNative),
        Just(WantedIngress::XdpGeneric),
        Just(WantedIngress::Tc),
    ];
    let mtu = prop_oneof![Just(None), Just(Some(1500)), Just(Some(9001))];
    prop_oneof![
        1 => Just(Wish::Wait),
        8 => (ingress, modes(), mtu).prop_map(|(ingress, mode, mtu)| {
            Wish::Provide(Desired { mtu, ..desired(ingress, mode) })
        }),
        2 => any::<bool>().prop_map(release),
    ]
}

fn kernels() -> impl Strategy<Value = Kernel> {
    let present = prop_oneof![
        Just(Kernel::empty()),
        (3u32..5, any::<bool>()).prop_map(|(index, up)| Kernel::plugged(index, up)),
    ];
    let pins = prop_oneof![Just(None), (0u32..5).prop_map(Some)];
    (present, pins).prop_map(|(kernel, pins)| match pins {
        Some(ifindex) => kernel.guarded(ifindex),
        None => kernel,
    })
}

proptest! {
    /// Idempotent: after the last round there is nothing left to do, whatever was there before.
    #[test]
    fn every_wish_comes_to_an_end(mut kernel in kernels(), first in wishes(), second in wishes()) {
        kernel.converge(&first);
        kernel.converge(&second);
        prop_assert_eq!(kernel.plan(&second), []);
    }

    /// Interruptible: an agent that dies after any action leads to the same kernel as one that lives.
    #[test]
    fn a_death_after_any_action_changes_nothing_in_the_end(
        kernel in kernels(), wish in wishes(), deaths in prop::collection::vec(0usize..4, 0..4),
    ) {
        let mut alive = kernel.clone();
        alive.converge(&wish);
        let mut mortal = kernel;
        for death in deaths {
            for action in mortal.plan(&wish).iter().take(death) {
                mortal.apply(action);
            }
            mortal.restart();
        }
        mortal.converge(&wish);
        prop_assert_eq!(&mortal.presence, &alive.presence);
        prop_assert_eq!(&mortal.attached, &alive.attached);
    }

    /// Guarded: under Enforce an interface that was down never goes up without its guard.
    #[test]
    fn no_packet_passes_before_the_guard(ingress in 0..2, deaths in 0usize..3) {
        let ingress = [WantedIngress::Tc, WantedIngress::XdpAuto][usize::from(ingress != 0)];
        let wish = Wish::Provide(desired(ingress, Mode::Enforce));
        let mut kernel = Kernel::plugged(3, false);
        for round in 0..5 {
            for action in kernel.plan(&wish) {
                kernel.apply(&action);
                let Presence::Present(interface) = &kernel.presence else { unreachable!() };
                prop_assert!(!interface.up || kernel.attached.is_some());
            }
            if round < deaths {
                kernel.restart();
            }
        }
    }
}
