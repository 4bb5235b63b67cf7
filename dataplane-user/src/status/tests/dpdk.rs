//! What is said of devices that DPDK has, should have, or gives back.

use super::*;
use crate::{
    desired::{self, dpdk::Binding},
    pci::{Function, Group, Hugepages},
    plan::dpdk::{Host, Kept, Shown},
};

/// DPDK has the device.
fn bound() -> Case {
    let Wish::Provide(desired) = provide() else {
        unreachable!()
    };
    let binding = Binding {
        driver: "vfio-pci".to_owned(),
        allow_no_iommu: false,
    };
    let wish = Wish::Provide(Desired {
        device: desired::Device {
            binding: Some(binding),
            resource: Some("eniway.io/dpdk".to_owned()),
            address: None,
        },
        ..desired
    });
    Case {
        wish,
        presence: Presence::Absent,
        attached: None,
        device: Shown {
            kept: Some(Kept {
                address: "0000:00:06.0".to_owned(),
                driver: "ena".to_owned(),
                interface: "ens6".to_owned(),
            }),
            function: Some(Function {
                address: "0000:00:06.0".to_owned(),
                driver: Some("vfio-pci".to_owned()),
                group: Some(Group {
                    number: 7,
                    ..Group::default()
                }),
                numa_node: Some(1),
                ..Function::default()
            }),
            host: Host {
                offers_devices: true,
                ..Host::default()
            },
            hugepages: vec![Hugepages {
                node: 1,
                size: 2048,
                total: 64,
            }],
            ..Shown::default()
        },
        ..good()
    }
}

fn function(case: &mut Case) -> &mut Function {
    case.device.function.as_mut().unwrap()
}

#[test]
fn a_device_that_dpdk_has_is_told_with_all_that_a_pod_must_know() {
    check(
        &bound(),
        &expect![[
            r#"{"phase":"Vfio","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"vfio-pci","dpdk":{"resourceName":"eniway.io/dpdk","iommuGroup":7,"numaNode":1}}"#
        ]],
    );
}

#[test]
fn what_a_pod_lacks_and_what_it_risks_is_told() {
    let mut case = bound();
    case.device.hugepages[0].node = 0;
    case.device.write_combining = Some(false);
    function(&mut case).group.as_mut().unwrap().no_iommu = true;
    check(
        &case,
        &expect![[
            r#"{"phase":"Vfio","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"vfio-pci","dpdk":{"resourceName":"eniway.io/dpdk","iommuGroup":7,"noIOMMU":true,"writeCombining":false,"numaNode":1,"missing":["NUMA node 1, next to the device, has no hugepages: reserve some (`vm.nr_hugepages`, or `hugepagesz=1G hugepages=N` on the kernel's command line) and restart the kubelet"]}}"#
        ]],
    );
}

#[test]
fn between_two_drivers_it_is_being_configured_and_a_failure_is_told() {
    let mut case = bound();
    function(&mut case).driver = None;
    check(
        &case,
        &expect![[r#"{"phase":"Configuring","interfaceName":"ens6","pciAddress":"0000:00:06.0"}"#]],
    );
    case.failure = Some(Failure {
        reason: Reason::DriverRefused,
        message: "give 0000:00:06.0 to vfio-pci: Device or resource busy".to_owned(),
    });
    check(
        &case,
        &expect![[
            r#"{"phase":"Failed","reason":"DriverRefused","message":"give 0000:00:06.0 to vfio-pci: Device or resource busy","interfaceName":"ens6","pciAddress":"0000:00:06.0"}"#
        ]],
    );
}

#[test]
fn an_interface_that_pods_have_goes_to_dpdk_when_they_have_ended() {
    let mut case = bound();
    case.device.kept = None;
    case.attached = attached(3);
    check(
        &case,
        &expect![[
            r#"{"phase":"Configuring","reason":"InUse","message":"pods have the interface, or addresses of it; DPDK gets it when they have ended"}"#
        ]],
    );
}

#[test]
fn a_device_that_somebody_gave_to_another_driver_is_told() {
    let mut case = bound();
    function(&mut case).driver = Some("nvme".to_owned());
    check(
        &case,
        &expect![[
            r#"{"phase":"Failed","reason":"DriverUnsuitable","message":"somebody gave 0000:00:06.0 to nvme; take it from there (`echo 0000:00:06.0 > /sys/bus/pci/drivers/nvme/unbind`)","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"nvme"}"#
        ]],
    );
}

#[test]
fn a_device_that_a_driver_of_before_has_waits_for_its_holder() {
    let mut case = bound();
    function(&mut case).driver = Some("igb_uio".to_owned());
    case.device.holders = vec!["pod default/upf".to_owned()];
    check(
        &case,
        &expect![[
            r#"{"phase":"Failed","reason":"InUse","message":"pod default/upf has the device 0000:00:06.0; it is released when it is let go","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"igb_uio","dpdk":{"iommuGroup":7,"noIOMMU":true}}"#
        ]],
    );
}

#[test]
fn a_held_device_keeps_the_record_with_the_holders_name() {
    let mut case = Case {
        wish: Wish::Release {
            eni: Some("eni-1".into()),
            mac: None,
            force: false,
            network: Network::default(),
        },
        ..bound()
    };
    function(&mut case).enabled = 1;
    check(
        &case,
        &expect![[
            r#"{"phase":"Releasing","reason":"InUse","message":"a program has the device 0000:00:06.0; it is released when it is let go","dpdk":{"iommuGroup":7}}"#
        ]],
    );
    case.device.holders = vec!["process 7 (dpdk-testpmd)".to_owned()];
    check(
        &case,
        &expect![[
            r#"{"phase":"Releasing","reason":"InUse","message":"process 7 (dpdk-testpmd) has the device 0000:00:06.0; it is released when it is let go","dpdk":{"iommuGroup":7}}"#
        ]],
    );
    case.device.kept = None;
    case.device.holders.clear();
    check(&case, &expect![[r#"{"phase":"Released","released":true}"#]]);
}

#[test]
fn the_kernels_interface_is_offered_unless_its_name_or_place_is_wrong() {
    let offered = |resource: &str, address: Option<&str>| {
        let Wish::Provide(desired) = provide() else {
            unreachable!()
        };
        Case {
            wish: Wish::Provide(Desired {
                device: desired::Device {
                    binding: None,
                    resource: Some(resource.to_owned()),
                    address: address.map(str::to_owned),
                },
                ..desired
            }),
            device: Shown {
                kept: None,
                ..bound().device
            },
            ..good()
        }
    };
    check(
        &offered("intel.com/kernel_1", Some("0000:00:06.0")),
        &expect![[
            r#"{"phase":"Ready","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"ena","mtu":9001,"xdp":{"mode":"Native"},"enforcement":"Enforce","dpdk":{"resourceName":"intel.com/kernel_1","numaNode":1}}"#
        ]],
    );
    check(
        &offered("kernel_1", None),
        &expect![[
            r#"{"phase":"Failed","reason":"ResourceNameInvalid","message":"dpdkResourceName kernel_1 is no name of a resource, such as example.com/fast; pods cannot ask for it","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"ena","mtu":9001,"xdp":{"mode":"Native"},"enforcement":"Enforce"}"#
        ]],
    );
    check(
        &offered("intel.com/kernel_1", Some("0000:00:07.0")),
        &expect![[
            r#"{"phase":"Failed","reason":"PCIAddressMismatch","message":"dpdkPCIAddress is 0000:00:07.0, and the interface with the ENI's MAC address, ens6, is at 0000:00:06.0; correct dpdkPCIAddress, or leave it out: the interface is found without","interfaceName":"ens6","pciAddress":"0000:00:06.0","driver":"ena","mtu":9001,"xdp":{"mode":"Native"},"enforcement":"Enforce"}"#
        ]],
    );
}
