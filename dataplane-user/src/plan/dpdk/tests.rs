use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;
use crate::netlink::Device as Hardware;

const ADDRESS: &str = "0000:00:06.0";

/// A machine with one ENI, which does what a kernel does with each step.
#[derive(Clone, Debug)]
struct Machine {
    /// Absent: it was unplugged.
    address: Option<String>,
    driver: Option<String>,
    driver_override: Option<String>,
    kept: Option<Kept>,
    /// A program has it open.
    open: bool,
    group: Option<Group>,
    host: Host,
    uses: Uses,
    holders: Vec<String>,
    /// The interface's driver is there, and its MAC address is another's.
    is_anothers: bool,
}

impl Machine {
    fn new() -> Self {
        Self {
            address: Some(ADDRESS.to_owned()),
            driver: Some("ena".to_owned()),
            driver_override: None,
            kept: None,
            open: false,
            group: Some(Group::default()),
            host: Host {
                may_bind: true,
                has_driver: true,
                ..Host::default()
            },
            uses: Uses::default(),
            holders: Vec::new(),
            is_anothers: false,
        }
    }

    fn presence(&self) -> Presence {
        if self.driver.as_deref() != Some("ena") || self.is_anothers {
            return Presence::Absent;
        }
        let Some(address) = &self.address else {
            return Presence::Absent;
        };
        Presence::Present(Interface {
            index: 3,
            name: "ens6".to_owned(),
            other_names: Vec::new(),
            up: true,
            mtu: 1500,
            pci_address: Some(address.clone()),
            driver: self.driver.clone(),
            device: Hardware::default(),
        })
    }

    fn shown(&self) -> Shown {
        let address = match self.presence() {
            Presence::Present(_) => self.address.clone(),
            _ => self.kept.as_ref().map(|kept| kept.address.clone()),
        };
        let function = address.filter(|address| Some(address) == self.address.as_ref());
        let mac = eniway_api::MacAddress([2, 0, 0, 0, 0, 9]);
        Shown {
            kept: self.kept.clone(),
            function: function.map(|address| Function {
                address,
                driver: self.driver.clone(),
                driver_override: self.driver_override.clone(),
                group: self.group.clone(),
                enabled: u32::from(self.open || self.driver.as_deref() == Some("ena")),
                macs: match self.driver.as_deref() {
                    Some("ena") => vec![mac],
                    _ => Vec::new(),
                },
                ..Function::default()
            }),
            host: self.host,
            uses: self.uses.clone(),
            holders: self.holders.clone(),
            ..Shown::default()
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Keep { kept, .. } => self.kept = Some(kept.clone()),
            Step::Override { driver, .. } => self.driver_override.clone_from(driver),
            Step::Unbind { driver, .. } => {
                assert_eq!(self.driver.as_ref(), Some(driver));
                assert!(self.kept.is_some(), "nobody could tell which it was");
                assert!(!self.open, "the kernel would not answer");
                self.driver = None;
            }
            Step::Probe { driver, .. } => {
                let fits = self.driver_override.clone().unwrap_or("ena".to_owned());
                assert_eq!(fits, *driver);
                self.driver = Some(fits);
            }
            Step::Forget { .. } => self.kept = None,
        }
    }

    fn wanted() -> Device {
        Device {
            binding: Some(Binding {
                driver: VFIO.to_owned(),
                allow_no_iommu: false,
            }),
            ..Device::default()
        }
    }

    fn next(&self, wanted: &Device) -> Option<Step> {
        let (eni, presence, shown) = (EniId::from("eni-1"), self.presence(), self.shown());
        match &wanted.binding {
            Some(binding) => bind(&eni, wanted, binding, &presence, &shown),
            None => give_back(&eni, &presence, &shown, false),
        }
    }

    /// At most `steps` of them, one a line.
    fn go(&mut self, wanted: &Device, steps: usize) -> String {
        let mut done = String::new();
        for _ in 0..steps {
            let Some(step) = self.next(wanted) else { break };
            writeln!(done, "{step}").unwrap();
            self.apply(&step);
        }
        done
    }

    fn is_vfio(&self) -> bool {
        let binding = Self::wanted().binding.unwrap();
        is_bound(&binding, &self.presence(), &self.shown())
    }

    fn is_the_kernels(&self) -> bool {
        self.driver.as_deref() == Some("ena")
            && self.driver_override.is_none()
            && self.kept.is_none()
    }
}

const ALL: usize = 10;

#[test]
fn a_device_goes_to_dpdk_and_back() {
    let mut machine = Machine::new();
    let there = machine.go(&Machine::wanted(), ALL);
    assert!(machine.is_vfio());
    let back = machine.go(&Device::default(), ALL);
    assert!(machine.is_the_kernels());
    expect![[r#"
        write down that eni-1 is 0000:00:06.0 of ena
        let only vfio-pci have 0000:00:06.0
        take 0000:00:06.0 from ena
        give 0000:00:06.0 to vfio-pci
        --
        let any driver have 0000:00:06.0
        take 0000:00:06.0 from vfio-pci
        give 0000:00:06.0 to ena
        forget which device eni-1 was
    "#]]
    .assert_eq(&format!("{there}--\n{back}"));
}

#[test]
fn the_driver_of_the_function_is_left_whatever_the_interface_calls_its_own() {
    let mut machine = Machine::new();
    machine.host.any_driver = true;
    let (mut presence, mut shown) = (machine.presence(), machine.shown());
    if let Presence::Present(interface) = &mut presence {
        interface.driver = Some("virtio_net".to_owned());
    }
    shown.function.as_mut().unwrap().driver = Some("virtio-pci".to_owned());
    let wanted = Machine::wanted();
    let step = bind(
        &EniId::from("eni-1"),
        &wanted,
        wanted.binding.as_ref().unwrap(),
        &presence,
        &shown,
    );
    let Some(Step::Keep { kept, .. }) = step else {
        panic!("{step:?}")
    };
    assert_eq!(kept.driver, "virtio-pci");
}

#[test]
fn who_changes_his_mind_between_two_steps_comes_to_the_end_all_the_same() {
    for there in 0..=ALL {
        for back in 0..=ALL {
            let mut machine = Machine::new();
            machine.go(&Machine::wanted(), there);
            machine.go(&Device::default(), back);
            let mut again = machine.clone();
            again.go(&Machine::wanted(), ALL);
            assert!(again.is_vfio(), "{there} and {back}: {again:?}");
            machine.go(&Device::default(), ALL);
            assert!(machine.is_the_kernels(), "{there} and {back}: {machine:?}");
        }
    }
}

#[test]
fn a_device_that_is_unplugged_is_forgotten_wherever_it_was() {
    for there in 0..=ALL {
        let mut machine = Machine::new();
        machine.go(&Machine::wanted(), there);
        machine.address = None;
        let mut wanted = machine.clone();
        wanted.go(&Machine::wanted(), ALL);
        machine.go(&Device::default(), ALL);
        assert_eq!((wanted.kept, machine.kept), (None, None), "{there}");
    }
}

#[test]
fn after_a_boot_the_device_is_bound_anew_wherever_it_is_now() {
    let mut machine = Machine::new();
    machine.go(&Machine::wanted(), ALL);
    // What was written down is gone, unless the bpffs is an old one's.
    for kept in [None, machine.kept.clone()] {
        let mut booted = Machine::new();
        booted.address = Some("0000:00:07.0".to_owned());
        booted.kept = kept;
        booted.go(&Machine::wanted(), ALL);
        assert!(booted.is_vfio(), "{booted:?}");
        assert_eq!(booted.kept.unwrap().address, "0000:00:07.0");
    }
}

#[test]
fn another_interface_in_the_devices_place_is_left_alone() {
    let mut machine = Machine::new();
    machine.go(&Machine::wanted(), ALL);
    machine.driver = Some("ena".to_owned());
    machine.driver_override = None;
    machine.is_anothers = true;
    let mut back = machine.clone();
    let there = machine.go(&Machine::wanted(), ALL);
    assert_eq!(there, "forget which device eni-1 was\n");
    assert_eq!(back.go(&Device::default(), ALL), there);
}

#[test]
fn another_driver_gets_it_by_way_of_the_kernels_and_all_is_asked_anew() {
    let mut machine = Machine::new();
    machine.go(&Machine::wanted(), ALL);
    let mut other = Machine::wanted();
    let binding = other.binding.as_mut().unwrap();
    binding.driver = "igb_uio".to_owned();
    let mut held = machine.clone();
    held.open = true;
    assert_eq!(held.next(&other), None);

    machine.go(&other, ALL);
    assert_eq!(machine.driver.as_deref(), Some("ena"), "nobody consented");
    other.binding.as_mut().unwrap().allow_no_iommu = true;
    machine.host.may_no_iommu = true;
    machine.go(&other, ALL);
    assert_eq!(machine.driver.as_deref(), Some("igb_uio"));
}

#[test]
fn a_device_that_is_held_stays_unless_it_is_forced() {
    let eni = EniId::from("eni-1");
    let mut machine = Machine::new();
    machine.go(&Machine::wanted(), ALL);
    let mut of_a_pod = machine.clone();
    of_a_pod.holders = vec!["pod default/testpmd".to_owned()];
    machine.open = true;
    for held in [machine, of_a_pod] {
        assert_eq!(held.next(&Device::default()), None);
        let forced = give_back(&eni, &held.presence(), &held.shown(), true);
        assert!(forced.is_some());
    }
}

fn check(change: impl FnOnce(&mut Machine, &mut Device), expected: &Expect) {
    let (mut machine, mut device) = (Machine::new(), Machine::wanted());
    change(&mut machine, &mut device);
    assert_eq!(machine.go(&device, ALL), "", "nothing is done");
    let Presence::Present(interface) = machine.presence() else {
        panic!("it is here");
    };
    let binding = device.binding.as_ref().unwrap();
    let refused = refusal(&device, binding, &interface, &machine.shown());
    let (obstacle, message) = refused.expect("it is refused");
    expected.assert_eq(&format!("{obstacle:?}: {message}"));
}

#[test]
fn an_interface_that_is_used_stays_with_the_kernel() {
    check(
        |machine, _| machine.uses.default_route = true,
        &expect!["InUse: the node's default route leads by ens6, which stays with the kernel"],
    );
    check(
        |machine, _| machine.uses.addresses = vec!["10.0.1.7".parse().unwrap()],
        &expect![
            "InUse: programs of the node have sockets at 10.0.1.7, of ens6; stop them first (`ss -anp`)"
        ],
    );
    check(
        |machine, _| machine.uses.children = vec!["macvlan0".to_owned()],
        &expect!["InUse: macvlan0 stand on ens6; remove them first"],
    );
    check(
        |machine, _| machine.holders = vec!["pod default/fast".to_owned()],
        &expect!["InUse: pod default/fast asked for ens6; DPDK gets it when it is let go"],
    );
}

#[test]
fn a_device_that_is_not_what_it_should_be_stays_with_the_kernel() {
    check(
        |_, device| device.address = Some("0000:00:07.0".to_owned()),
        &expect![
            "Address: dpdkPCIAddress is 0000:00:07.0, and the interface with the ENI's MAC address, ens6, is at \
             0000:00:06.0; correct dpdkPCIAddress, or leave it out: the interface is found without"
        ],
    );
    check(
        |_, device| device.binding.as_mut().unwrap().driver = "nvme".to_owned(),
        &expect![
            "Driver: dpdkDriver nvme is none for DPDK; it is one of vfio-pci, igb_uio, uio_pci_generic"
        ],
    );
    check(
        |machine, _| machine.host.may_bind = false,
        &expect![
            "Driver: this node's agent binds no devices: start it with --sysfs-writable (agent.dpdk.enabled in the \
             chart)"
        ],
    );
    check(
        |machine, _| machine.host.has_driver = false,
        &expect![
            "Driver: the node's kernel has no driver vfio-pci: `modprobe vfio-pci`, and a file in /etc/modules-load.d \
             for the next boot"
        ],
    );
}

#[test]
fn a_device_without_an_iommu_needs_three_to_agree() {
    let without = |machine: &mut Machine| machine.group = None;
    check(
        |machine, _| without(machine),
        &expect![
            "NoIommu: no IOMMU keeps the device from the node's memory (virtual EC2 instances have none); to bind it \
             all the same, set dpdk.allowUnsafeNoIOMMU: true"
        ],
    );
    let asked = |machine: &mut Machine, device: &mut Device| {
        machine.group = None;
        device.binding.as_mut().unwrap().allow_no_iommu = true;
    };
    check(
        asked,
        &expect![
            "NoIommu: no IOMMU keeps the device from the node's memory (virtual EC2 instances have none); \
             dpdk.allowUnsafeNoIOMMU asks for it all the same, and this node's agent may not: start it with \
             --allow-unsafe-no-iommu (agent.dpdk.allowUnsafeNoIOMMU in the chart)"
        ],
    );
    let may = |machine: &mut Machine, device: &mut Device| {
        asked(machine, device);
        machine.host.may_no_iommu = true;
    };
    check(
        may,
        &expect![
            "NoIommu: no IOMMU keeps the device from the node's memory (virtual EC2 instances have none), and the \
             kernel's vfio insists on one: `echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode`, and \
             `options vfio enable_unsafe_noiommu_mode=1` in /etc/modprobe.d for the next boot"
        ],
    );
    let (mut machine, mut device) = (Machine::new(), Machine::wanted());
    may(&mut machine, &mut device);
    machine.host.no_iommu = true;
    machine.go(&device, ALL);
    assert!(machine.is_vfio());
}

#[test]
fn a_driver_that_knows_no_iommu_needs_consent_even_where_there_is_one() {
    check(
        |_, device| device.binding.as_mut().unwrap().driver = "igb_uio".to_owned(),
        &expect![
            "NoIommu: no IOMMU keeps the device from the node's memory (virtual EC2 instances have none); to bind it \
             all the same, set dpdk.allowUnsafeNoIOMMU: true"
        ],
    );
}

#[test]
fn all_of_an_iommu_group_go_to_dpdk_or_none() {
    check(
        |machine, _| {
            let other = |address: &str, driver: Option<&str>| {
                (address.to_owned(), driver.map(str::to_owned))
            };
            machine.group = Some(Group {
                number: 7,
                no_iommu: false,
                others: vec![
                    other("0000:00:06.1", Some("nvme")),
                    other("0000:00:06.2", None),
                    other("0000:00:06.3", Some("vfio-pci")),
                ],
            });
        },
        &expect![
            "IommuGroup: the IOMMU does not tell the device from 0000:00:06.1 (nvme), with which it is in group 7; all \
             of a group go to DPDK, or none"
        ],
    );
}

#[test]
fn what_is_written_down_is_read_again() {
    let kept = Kept {
        address: ADDRESS.to_owned(),
        driver: "ena".to_owned(),
        interface: "ens6".to_owned(),
    };
    assert_eq!(Kept::parse(&kept.to_string()), Some(kept));
    assert_eq!(Kept::parse("ens6"), None);
}
