//! Hardware that comes, goes and changes hands, in virtual machines: what no namespace has. Part `vm` of the test;
//! needs no root, and apt once for each kernel.
//!
//! The tests here hand cards over as a person would, and so prove the machine; those below let the agent do it.

mod agent;
mod dpdk;
mod handbook;
mod kubelet;
mod node;
mod systemd;
mod testpmd;

use std::time::Duration;

use lab::vm::{Card, Kernel, Machine, Model, Options};
use lab::wait;

use testpmd::Testpmd;

/// Patience, no bound: the processor is emulated, and comes after everything else that runs.
const DEADLINE: Duration = Duration::from_secs(1500);
/// For one thing that happens in a machine.
const SOON: Duration = Duration::from_secs(240);

const MAC: &str = "02:00:00:00:00:0a";
const VFIO: [&str; 3] = ["e1000e", "vfio-pci", "vfio_iommu_type1"];

fn kernel(series: &str) -> Kernel {
    Kernel::find(series, &|line| println!("{line}")).unwrap()
}

/// A kernel that can be told to do without an IOMMU.
fn kernel_with_noiommu(series: &str) -> Kernel {
    let kernel = kernel(series).with_noiommu(&|line| println!("{line}"));
    kernel.unwrap()
}

/// Bare metal has an IOMMU, a virtual instance has none.
fn options(iommu: bool) -> Options {
    Options {
        iommu,
        modules: &VFIO,
        ..Options::default()
    }
}

fn bytes_of(mac: &str) -> [u8; 6] {
    let bytes = mac.split(':');
    let bytes: Vec<u8> = bytes
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// Waits until the kernel has an interface with the card's MAC address; gives its place on the PCI bus.
fn place_of(machine: &Machine, card: &Card) -> String {
    wait::until("the kernel has an interface for the card", SOON, || {
        let find = format!(
            "readlink -e $(dirname $(grep -l {} /sys/class/net/*/address))/device",
            card.mac()
        );
        let found = machine.read(&find).map_err(|error| error.to_string())?;
        // A virtio device is one below the card's.
        let place = found.rsplit('/').find(|name| name.contains(':'));
        place.map(ToOwned::to_owned).ok_or(found.clone())
    })
    .unwrap()
}

/// The driver that has a device; empty if none has.
fn driver(machine: &Machine, place: &str) -> String {
    let ended = machine
        .run(&format!("readlink /sys/bus/pci/devices/{place}/driver"))
        .unwrap();
    ended.output.rsplit('/').next().unwrap().to_owned()
}

/// Takes a device from its driver and lets one look at it that `wanted` names, or any where that is empty.
fn hand_over(machine: &Machine, place: &str, wanted: &str) {
    let device = format!("/sys/bus/pci/devices/{place}");
    let hand_over = format!(
        "set -e
        echo {wanted} > {device}/driver_override
        if [ -e {device}/driver ]; then echo {place} > {device}/driver/unbind; fi
        echo {place} > /sys/bus/pci/drivers_probe"
    );
    machine.read(&hand_over).unwrap();
}

/// Waits until vfio has asked a program to let its device go.
fn wait_relayed(machine: &Machine) {
    wait::until("vfio passes the request on", SOON, || {
        let said = machine.read("dmesg").map_err(|error| error.to_string())?;
        match said.contains("Relaying device request to user") {
            true => Ok(()),
            false => Err(said),
        }
    })
    .unwrap();
}

fn wait_pulled(machine: &Machine, card: &Card) {
    wait::until("the card is gone", SOON, || {
        match machine.is_plugged(card).unwrap() {
            true => Err(machine.console()),
            false => Ok(()),
        }
    })
    .unwrap();
}

#[test]
fn a_card_that_is_plugged_in_is_handed_to_dpdk_and_back() {
    let machine = Machine::start(&kernel("6.12"), &options(true), DEADLINE).unwrap();
    let card = machine.plug(Model::E1000e, MAC).unwrap();
    let place = place_of(&machine, &card);
    assert_eq!(driver(&machine, &place), "e1000e");

    hand_over(&machine, &place, "vfio-pci");
    assert_eq!(driver(&machine, &place), "vfio-pci");
    let testpmd = Testpmd::start(&machine, &place);
    testpmd.forwards(&card);
    testpmd.stop();
    hand_over(&machine, &place, "");
    assert_eq!(driver(&machine, &place), "e1000e");
    assert_eq!(place_of(&machine, &card), place, "with its address");

    // A power failure: the kernel's driver has it, whoever had it before, and what is durable is there.
    hand_over(&machine, &place, "vfio-pci");
    machine.read("echo kept > /var/lib/eniway/note").unwrap();
    machine.reboot().unwrap();
    let place = place_of(&machine, &card);
    assert_eq!(driver(&machine, &place), "e1000e");
    assert_eq!(machine.read("cat /var/lib/eniway/note").unwrap(), "kept");
}

#[test]
fn without_an_iommu_vfio_takes_a_card_when_it_is_allowed_to_and_keeps_it_while_it_is_used() {
    let kernel = kernel_with_noiommu("6.1");
    let machine = Machine::start(&kernel, &options(false), DEADLINE).unwrap();
    let card = machine.plug(Model::E1000e, MAC).unwrap();
    let place = place_of(&machine, &card);

    hand_over(&machine, &place, "vfio-pci");
    assert_eq!(driver(&machine, &place), "", "refused");
    let allow = "echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    machine.read(allow).unwrap();
    hand_over(&machine, &place, "vfio-pci");
    assert_eq!(driver(&machine, &place), "vfio-pci");
    assert!(machine.read("ls /dev/vfio").unwrap().contains("noiommu-0"));

    let testpmd = Testpmd::start(&machine, &place);
    testpmd.forwards(&card);
    machine.unplug(&card).unwrap();
    wait_relayed(&machine);
    assert!(machine.is_plugged(&card).unwrap());
    testpmd.stop();
    wait_pulled(&machine, &card);
}
