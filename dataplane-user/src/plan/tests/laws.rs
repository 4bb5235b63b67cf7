//! What holds for every plan.

use proptest::prelude::*;

use super::*;

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
        8 => (ingress, modes(), mtu, any::<bool>()).prop_map(|(ingress, mode, mtu, host)| {
            let network = if host { networks::wanted() } else { Network::default() };
            Wish::Provide(Desired { mtu, network, ..desired(ingress, mode) })
        }),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(lower, reduce)| {
            Wish::Provide(Desired {
                mtu_policy: if lower { MtuPolicy::Lower } else { MtuPolicy::Fail },
                channel_policy: if reduce { ChannelPolicy::Reduce } else { ChannelPolicy::Fail },
                ..desired(WantedIngress::XdpNative, Mode::Enforce)
            })
        }),
        2 => any::<bool>().prop_map(release),
    ]
}

fn kernels() -> impl Strategy<Value = Kernel> {
    let present = prop_oneof![
        Just(Kernel::empty()),
        (3u32..5, any::<bool>()).prop_map(|(index, up)| Kernel::plugged(index, up)),
        (prop_oneof![Just(1500), Just(9001)], 1u32..=8)
            .prop_map(|(mtu, channels)| Kernel::ena(mtu, channels)),
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
        prop_assert_eq!(&mortal.found_mtu, &alive.found_mtu);
        prop_assert_eq!(&mortal.found_channels, &alive.found_channels);
        prop_assert_eq!(&mortal.network.sysctls, &alive.network.sysctls);
        prop_assert_eq!(&mortal.network.found, &alive.network.found);
        let sorted = |kernel: &Kernel| {
            let stack = &kernel.network.stack;
            let mut routes: Vec<_> = stack.routes.iter().map(ToString::to_string).collect();
            let mut rules = stack.rules.clone();
            let mut addresses: Vec<_> = stack.addresses.iter().map(|one| one.address).collect();
            routes.sort();
            rules.sort();
            addresses.sort();
            (routes, rules, addresses)
        };
        prop_assert_eq!(sorted(&mortal), sorted(&alive));
    }

    /// Clean: whatever was asked for meanwhile, a release leaves the interface as it was found.
    #[test]
    fn a_release_gives_everything_back(wishes in prop::collection::vec(wishes(), 0..4)) {
        for untouched in [Kernel::plugged(3, true), Kernel::ena(9001, 8)] {
            let mut kernel = untouched.clone();
            for wish in &wishes {
                kernel.converge(wish);
            }
            let mut found = kernel.clone();
            found.converge(&release(false));
            prop_assert_eq!(found.presence, untouched.presence);
            prop_assert_eq!(found.network, untouched.network);
            let left = (found.attached, found.found_mtu, found.found_channels);
            prop_assert_eq!(left, (None, None, None));
        }
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
