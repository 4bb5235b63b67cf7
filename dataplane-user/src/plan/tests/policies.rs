//! What native XDP may change of an interface, and how that comes back.

use super::*;

fn native(mtu: Option<u32>) -> Desired {
    Desired {
        mtu,
        mtu_policy: MtuPolicy::Lower,
        channel_policy: ChannelPolicy::Reduce,
        ..desired(WantedIngress::XdpNative, Mode::Enforce)
    }
}

#[test]
fn what_is_allowed_is_changed_first_and_given_back_last() {
    let mut kernel = Kernel::ena(9001, 8);
    expect![[r#"
        set the MTU of ens6 to 3498; set the channels of ens6 to 4; guard ens6 for eni-1 (XdpNative, Enforce)
    "#]]
    .assert_eq(&kernel.converge(&Wish::Provide(native(None))));
    check(
        kernel,
        &release(false),
        &expect![[r#"
            remove the guard of eni-1
            give ens6 its MTU 9001 back; give ens6 its 8 channels back
        "#]],
    );
}

#[test]
fn what_is_not_allowed_any_more_comes_back_after_the_driver_is_left() {
    let mut kernel = Kernel::ena(9001, 8);
    kernel.converge(&Wish::Provide(native(None)));
    check(
        kernel,
        &Wish::Provide(desired(WantedIngress::XdpAuto, Mode::Enforce)),
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Enforce); give ens6 its MTU 9001 back; give ens6 its 8 channels back
        "#]],
    );
}

#[test]
fn what_is_not_allowed_is_left_and_the_check_runs_on_tc() {
    for ingress in [WantedIngress::XdpAuto, WantedIngress::XdpNative] {
        check(
            Kernel::ena(9001, 8),
            &Wish::Provide(desired(ingress, Mode::Enforce)),
            &expect![[r#"
                guard ens6 for eni-1 (Tc, Enforce)
            "#]],
        );
    }
}

#[test]
fn an_mtu_that_the_spec_names_is_lowered_too() {
    check(
        Kernel::ena(1500, 4),
        &Wish::Provide(native(Some(9001))),
        &expect![[r#"
            set the MTU of ens6 to 3498; guard ens6 for eni-1 (XdpNative, Enforce)
        "#]],
    );
}

#[test]
fn an_interface_that_fits_is_left_as_it_is() {
    check(
        Kernel::ena(3498, 4),
        &Wish::Provide(native(None)),
        &expect![[r#"
            guard ens6 for eni-1 (XdpNative, Enforce)
        "#]],
    );
}

#[test]
fn less_than_what_is_allowed_is_nobodys_harm() {
    let wish = Wish::Provide(native(None));
    let mut kernel = Kernel::ena(9001, 8);
    kernel.converge(&wish);
    let Presence::Present(interface) = &mut kernel.presence else {
        unreachable!()
    };
    interface.mtu = 1500;
    interface.device.channels = Some(Channels { current: 2, max: 8 });
    check(kernel, &wish, &expect![""]);
}

#[test]
fn a_device_that_has_gone_leaves_nothing_to_remember() {
    let mut kernel = Kernel::ena(9001, 8);
    kernel.converge(&Wish::Provide(native(None)));
    kernel.presence = Presence::Absent;
    check(
        kernel,
        &release(true),
        &expect![[r#"
            remove the guard of eni-1
            forget the MTU that eni-1 was found with; forget the channels that eni-1 was found with
        "#]],
    );
}
