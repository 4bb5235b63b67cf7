//! Names, settings, addresses, routes and rules in plans.

use eniway_api::{Addressing, DeviceIndex, Ec2Status, InterfaceWish};

use super::*;
use crate::{
    desired::{
        dpdk::{Binding, VFIO},
        network::network,
    },
    netlink::Address,
};

/// What a record asks for whose interface the host addresses.
pub(super) fn wanted() -> Network {
    of(&["10.0.1.7/32", "2600:1f13::7/128"])
}

fn of(addresses: &[&str]) -> Network {
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    let ec2 = Ec2Status {
        device_index: Some(DeviceIndex(1)),
        subnet_cidrs: nets(&["10.0.1.0/24", "2600:1f13::/64"]),
        addresses: nets(addresses),
        ..Ec2Status::default()
    };
    let wish = InterfaceWish {
        name: Some("fast".to_owned()),
        addressing: Some(Addressing::Host),
        ..InterfaceWish::default()
    };
    network(Some(&wish), &ec2)
}

fn provide(network: Network) -> Wish {
    Wish::Provide(Desired {
        network,
        ..desired(WantedIngress::Tc, Mode::Enforce)
    })
}

#[test]
fn addresses_come_with_the_guard_and_routes_when_the_interface_is_up() {
    check(
        Kernel::plugged(3, false),
        &provide(wanted()),
        &expect![[r#"
            guard ens6 for eni-1 (Tc, Enforce); name ens6 fast as well; set rp_filter of ens6 to 2; set arp_ignore of ens6 to 1; set arp_announce of ens6 to 2; give ens6 the address 10.0.1.7/24; give ens6 the address 2600:1f13::7/128; add the rule from 10.0.1.7/32 to table 20001; add the rule from 2600:1f13::7/128 to table 20001
            set ens6 up
            add the route to 10.0.1.0/24 in table 20001; add the route to 2600:1f13::/64 in table 20001; add the route to 0.0.0.0/0 by 10.0.1.1 in table 20001; add the route to ::/0 by fe80:ec2::1 in table 20001
        "#]],
    );
}

#[test]
fn what_somebody_changes_is_repaired_and_what_he_added_stays() {
    let mut kernel = Kernel::plugged(3, true);
    let wish = provide(wanted());
    kernel.converge(&wish);
    let foreign = Address {
        interface: 3,
        address: "10.0.1.99/24".parse().unwrap(),
        ours: false,
    };
    let stack = &mut kernel.network.stack;
    stack.rules.remove(0);
    stack.routes.remove(2);
    stack.addresses.push(foreign);
    kernel.network.sysctls.insert(Sysctl::RpFilter, 1);
    check(
        kernel.clone(),
        &wish,
        &expect![[r#"
            set rp_filter of ens6 to 2; add the route to 0.0.0.0/0 by 10.0.1.1 in table 20001; add the rule from 10.0.1.7/32 to table 20001
        "#]],
    );
    kernel.converge(&wish);
    kernel.converge(&release(false));
    assert_eq!(kernel.network.stack.addresses, [foreign]);
}

#[test]
fn an_address_that_ec2_took_away_goes_with_its_rule() {
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&provide(of(&["10.0.1.7/32", "10.0.1.8/32"])));
    check(
        kernel,
        &provide(of(&["10.0.1.7/32"])),
        &expect![[r#"
            remove the rule from 10.0.1.8/32 to table 20001; take the address 10.0.1.8/32 off ens6
        "#]],
    );
}

#[test]
fn an_interface_that_a_pod_takes_leaves_no_rule_behind() {
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&provide(wanted()));
    kernel.presence = Presence::Absent;
    kernel.network.stack.addresses.clear();
    kernel.network.stack.routes.clear();
    check(
        kernel,
        &provide(wanted()),
        &expect![[r#"
            remove the rule from 10.0.1.7/32 to table 20001; remove the rule from 2600:1f13::7/128 to table 20001
        "#]],
    );
}

#[test]
fn where_somebody_translates_an_interface_keeps_its_source_and_nowhere_else() {
    let mut kernel = Kernel::plugged(3, true);
    let wish = provide(wanted());
    kernel.converge(&wish);
    assert!(kernel.network.stack.sources.kept.is_empty());
    kernel.network.stack.sources.translated = true;
    check(
        kernel.clone(),
        &wish,
        &expect![[r#"
            keep the source 10.0.1.7/32 of what leaves by interface 3
        "#]],
    );
    kernel.converge(&wish);
    // EC2 gives it another address, the kernel another number, a pod has it, the record ends.
    check(
        kernel.clone(),
        &provide(of(&["10.0.1.8/32"])),
        &expect![[r#"
            give ens6 the address 10.0.1.8/24; add the route to 10.0.1.0/24 in table 20001; add the route to 0.0.0.0/0 by 10.0.1.1 in table 20001; add the rule from 10.0.1.8/32 to table 20001; keep the source 10.0.1.8/32 of what leaves by interface 3; no longer keep the source 10.0.1.7/32 of what leaves by interface 3; remove the rule from 10.0.1.7/32 to table 20001; remove the rule from 2600:1f13::7/128 to table 20001; remove the route to 2600:1f13::/64 in table 20001; remove the route to ::/0 by fe80:ec2::1 in table 20001; take the address 10.0.1.7/24 off ens6; take the address 2600:1f13::7/128 off ens6
        "#]],
    );
    let kept = kernel.network.stack.sources.clone();
    let mut in_pod = kernel.clone();
    in_pod.presence = Presence::Absent;
    in_pod.converge(&wish);
    assert!(in_pod.network.stack.sources.kept.is_empty());
    kernel.converge(&release(false));
    assert!(kernel.network.stack.sources.kept.is_empty());
    assert_eq!(sources::orphans(&kept, &["eni-1".into()]), []);
    assert_eq!(sources::orphans(&kept, &["eni-2".into()]).len(), 1);
}

#[test]
fn rules_that_were_asked_for_before_go_with_the_interface() {
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&provide(wanted()));
    assert!(!kernel.network.stack.rules.is_empty());
    // The record has another wish since, and then goes.
    let network = Network {
        table: wanted().table,
        ..Network::default()
    };
    kernel.converge(&Wish::Release {
        eni: Some(ENI.into()),
        mac: None,
        force: false,
        network,
    });
    assert_eq!(kernel.network.stack.rules, []);
}

#[test]
fn an_interface_is_in_the_hands_of_networkd_before_and_after_ours() {
    let mut kernel = Kernel::plugged(3, true);
    kernel.network.is_unmanaged = Some(false);
    let wish = provide(wanted());
    let absent = Kernel {
        presence: Presence::Absent,
        ..kernel.clone()
    };
    let first = expect![[r#"
        tell systemd-networkd to leave eni-1 alone
    "#]];
    check(absent, &wish, &first);
    // Also where nothing else may be done yet: networkd's own sockets may be why.
    let mut for_dpdk = provide(Network::default());
    if let Wish::Provide(desired) = &mut for_dpdk {
        desired.device.binding = Some(Binding {
            driver: VFIO.to_owned(),
            allow_no_iommu: false,
        });
    }
    check(kernel.clone(), &for_dpdk, &first);
    let rounds = kernel.converge(&wish);
    assert!(rounds.starts_with("tell systemd-networkd"), "{rounds}");
    let mut used = kernel.clone();
    used.presence = Presence::Absent;
    used.converge(&release(false));
    assert_eq!(used.network.is_unmanaged, Some(true), "a pod has it");
    let mut unaddressed = kernel.clone();
    unaddressed.converge(&provide(Network::default()));
    assert_eq!(unaddressed.network.is_unmanaged, Some(false));
    let rounds = kernel.converge(&release(false));
    assert!(
        rounds.ends_with("\nleave eni-1 to systemd-networkd\n"),
        "{rounds}"
    );
    let found = Found {
        unmanaged: Some(["eni-1".to_owned()].into()),
        ..Found::default()
    };
    assert_eq!(orphans(&[], &found, &["eni-1".into()]), []);
    assert_eq!(orphans(&[], &found, &[]).len(), 1);
}

#[test]
fn a_node_that_is_stricter_overrules() {
    let mut strict = Shown {
        rp_filter: 1,
        ..Shown::default()
    };
    assert_eq!(
        network::overruled(&wanted(), &strict),
        None,
        "Loose is more"
    );
    let mut off = wanted();
    off.sysctls.insert(Sysctl::RpFilter, 0);
    let told = network::overruled(&off, &strict).unwrap();
    assert!(
        told.starts_with("net.ipv4.conf.all.rp_filter is 1,"),
        "{told}"
    );
    strict.rp_filter = 0;
    assert_eq!(network::overruled(&off, &strict), None);
}

#[test]
fn a_table_that_no_record_uses_is_emptied() {
    let mut kernel = Kernel::plugged(3, true);
    kernel.converge(&provide(wanted()));
    let stack = &kernel.network.stack;
    assert_eq!(network::orphans(stack, &[20_001]), []);
    assert_eq!(network::orphans(stack, &[20_002]).len(), 2 + 4);
}

#[test]
fn another_name_takes_the_place_of_the_first() {
    let mut kernel = Kernel::plugged(3, true);
    let named = |name: &str| Network {
        name: Some(name.to_owned()),
        ..wanted()
    };
    kernel.converge(&provide(named("fast")));
    let expected = expect![[r#"
        take the name fast off ens6; name ens6 slow as well
    "#]];
    check(kernel.clone(), &provide(named("slow")), &expected);
    // Somebody took it off: it is given again, and nothing is left to be taken off later.
    let Presence::Present(interface) = &mut kernel.presence else {
        unreachable!()
    };
    interface.other_names.clear();
    let expected = expect![[r#"
        forget the name that eni-1 was given; name ens6 slow as well
    "#]];
    check(kernel, &provide(named("slow")), &expected);
}
