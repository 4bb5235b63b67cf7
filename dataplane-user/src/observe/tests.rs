use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use super::*;

const ENI: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

fn link(index: IfIndex, name: &str, kind: Option<&str>) -> Link {
    Link {
        index,
        name: name.to_owned(),
        other_names: Vec::new(),
        mac: ENI,
        kind: kind.map(str::to_owned),
        parent: None,
        up: false,
        mtu: 1500,
    }
}

/// A sysfs in which `name` stands on `bus`, the last of `path`, driven by `driver`.
fn device(root: &Path, name: &str, path: &[(&str, &str)], driver: &str) {
    let mut device = root.join("devices");
    for (part, bus) in path {
        device.push(part);
        fs::create_dir_all(&device).unwrap();
        let bus = root.join("bus").join(bus);
        fs::create_dir_all(&bus).unwrap();
        symlink(bus, device.join("subsystem")).unwrap();
    }
    let driver = root.join("drivers").join(driver);
    fs::create_dir_all(&driver).unwrap();
    symlink(driver, device.join("driver")).unwrap();
    let class = root.join("class/net").join(name);
    fs::create_dir_all(&class).unwrap();
    symlink(device, class.join("device")).unwrap();
}

fn check(links: &[Link], sysfs: &TempDir, accept: Accept) -> String {
    match find(links, &Sysfs::new(sysfs.path()), accept, ENI) {
        Presence::Absent => "absent".to_owned(),
        Presence::Present(interface) => format!(
            "{} {} {}",
            interface.name,
            interface.pci_address.as_deref().unwrap_or("-"),
            interface.driver.as_deref().unwrap_or("-"),
        ),
        Presence::Ambiguous(names) => format!("ambiguous {}", names.join(" ")),
    }
}

#[test]
fn an_eni_is_the_pci_function_with_its_mac() {
    let sysfs = TempDir::new().unwrap();
    device(sysfs.path(), "ens6", &[("0000:00:06.0", "pci")], "ena");
    let links = [link(3, "ens6", None)];
    assert_eq!(
        check(&links, &sysfs, Accept::Hardware),
        "ens6 0000:00:06.0 ena"
    );
}

#[test]
fn a_bus_of_its_own_leads_to_the_pci_function() {
    let sysfs = TempDir::new().unwrap();
    let path = [("0000:01:00.0", "pci"), ("virtio3", "virtio")];
    device(sysfs.path(), "eth1", &path, "virtio_net");
    let links = [link(3, "eth1", None)];
    let found = check(&links, &sysfs, Accept::Hardware);
    assert_eq!(found, "eth1 0000:01:00.0 virtio_net");
}

#[test]
fn children_with_the_same_mac_are_not_the_eni() {
    let sysfs = TempDir::new().unwrap();
    device(sysfs.path(), "ens6", &[("0000:00:06.0", "pci")], "ena");
    let links = [
        link(9, "ens6.100", Some("vlan")),
        link(8, "mv0", Some("macvlan")),
        link(3, "ens6", None),
        link(7, "ipv0", Some("ipvlan")),
        link(6, "bond0", Some("bond")),
    ];
    for accept in [Accept::Hardware, Accept::Virtual] {
        assert_eq!(check(&links, &sysfs, accept), "ens6 0000:00:06.0 ena");
    }
}

#[test]
fn hardware_that_is_not_on_pci_is_not_an_eni() {
    let sysfs = TempDir::new().unwrap();
    device(sysfs.path(), "usb0", &[("1-1", "usb")], "cdc_ether");
    assert_eq!(
        check(&[link(3, "usb0", None)], &sysfs, Accept::Virtual),
        "absent"
    );
    assert_eq!(
        check(&[link(3, "gone", None)], &sysfs, Accept::Virtual),
        "absent"
    );
}

#[test]
fn a_veth_is_an_eni_only_where_that_was_allowed() {
    let sysfs = TempDir::new().unwrap();
    let links = [link(3, "veth1", Some("veth"))];
    assert_eq!(check(&links, &sysfs, Accept::Hardware), "absent");
    assert_eq!(check(&links, &sysfs, Accept::Virtual), "veth1 - veth");
}

#[test]
fn two_candidates_are_told_and_neither_is_chosen() {
    let sysfs = TempDir::new().unwrap();
    let links = [link(3, "a", Some("veth")), link(4, "b", Some("veth"))];
    assert_eq!(check(&links, &sysfs, Accept::Virtual), "ambiguous a b");
}
