//! Interfaces that the agent hands to DPDK and takes back, on instances that are machines.

use lab::vm::Model;
use serde_json::Value;

use super::node::Node;
use super::testpmd::Testpmd;
use super::{driver, kernel, kernel_with_noiommu, options, place_of, wait_pulled, wait_relayed};

pub(super) const NOTHING: &str = "";
pub(super) const BOUND: &str = "[[interface]]\n[interface.dpdk]\nbind = true\n";
/// In the file of a user who accepts what it means.
const UNSAFE: &str = "allowUnsafeNoIOMMU = true\n";
/// Its card is Intel's, not EC2's.
pub(super) const LABORATORY: &str = "--accept-virtual --sysfs-writable /sys";

pub(super) fn is_bound(state: &Value) -> bool {
    state["node"]["phase"] == "Vfio"
}

/// Why an interface is not what it should be, if it is that word.
pub(super) fn says(state: &Value, reason: &str, message: &str) -> bool {
    let told = state["node"]["message"].as_str().unwrap_or_default();
    state["node"]["reason"] == reason && told.contains(message)
}

#[test]
fn a_device_goes_to_dpdk_and_comes_back_when_the_program_lets_go() {
    let node = Node::start(&kernel("6.12"), &options(true), Model::E1000e);
    node.run_agent(LABORATORY, BOUND);
    let (eni, card) = node.attach(1);
    let state = node.wait_for("DPDK has it", &eni, is_bound);
    let place = state["node"]["pciAddress"].as_str().unwrap();
    assert_eq!(state["node"]["driver"], "vfio-pci");
    assert!(state["node"]["dpdk"]["iommuGroup"].is_u64(), "{state}");
    assert_eq!(state["node"]["dpdk"]["noIOMMU"], Value::Null);
    assert_eq!(driver(node.machine(), place), "vfio-pci");

    let testpmd = Testpmd::start(node.machine(), place);
    testpmd.forwards(&card);
    // Nobody wants it any more, but a program has it.
    node.run_agent(LABORATORY, NOTHING);
    node.wait_for("the program is named", &eni, |state| {
        says(state, "InUse", "dpdk-testpmd")
    });
    testpmd.forwards(&card);
    testpmd.stop();
    assert_eq!(place_of(node.machine(), &card), place);
    assert_eq!(driver(node.machine(), place), "e1000e");
    node.wait_gone(&eni);

    // Each is killed by the next, wherever it is between two steps.
    for _ in 0..4 {
        node.run_agent(LABORATORY, BOUND);
        node.run_agent(LABORATORY, NOTHING);
    }
    node.run_agent(LABORATORY, BOUND);
    node.wait_for("DPDK has it after all", &eni, is_bound);
    for _ in 0..4 {
        node.run_agent(LABORATORY, NOTHING);
        node.run_agent(LABORATORY, BOUND);
    }
    node.run_agent(LABORATORY, NOTHING);
    assert_eq!(place_of(node.machine(), &card), place);
    node.wait_gone(&eni);
    assert_eq!(driver(node.machine(), place), "e1000e");
}

#[test]
fn a_device_is_bound_again_after_a_power_failure_and_pulled_only_when_its_program_lets_go() {
    let node = Node::start(&kernel("6.12"), &options(true), Model::E1000e);
    let (eni, card) = node.attach(1);
    node.run_agent(LABORATORY, BOUND);
    node.wait_for("DPDK has it", &eni, is_bound);
    node.reboot();
    // Before an agent runs it is the kernel's, whose driver forgets nothing.
    assert_eq!(
        driver(node.machine(), &place_of(node.machine(), &card)),
        "e1000e"
    );
    node.run_agent(LABORATORY, BOUND);
    let state = node.wait_for("DPDK has it again", &eni, is_bound);
    let place = state["node"]["pciAddress"].as_str().unwrap();

    let testpmd = Testpmd::start(node.machine(), place);
    testpmd.forwards(&card);
    node.detach(&eni);
    wait_relayed(node.machine());
    assert!(node.machine().is_plugged(&card).unwrap());
    testpmd.stop();
    wait_pulled(node.machine(), &card);
    node.wait_gone(&eni);
}

#[test]
fn without_an_iommu_a_device_is_bound_when_user_agent_and_kernel_allow_it() {
    let node = Node::start(&kernel_with_noiommu("6.1"), &options(false), Model::E1000e);
    let (eni, card) = node.attach(1);
    let allowed = format!("{BOUND}{UNSAFE}");
    let trusting = format!("{LABORATORY} --allow-unsafe-no-iommu");
    let refusals = [
        (LABORATORY, BOUND, "set dpdk.allowUnsafeNoIOMMU"),
        (
            LABORATORY,
            &allowed,
            "start it with --allow-unsafe-no-iommu",
        ),
        (&trusting, &allowed, "enable_unsafe_noiommu_mode"),
    ];
    for (arguments, file, message) in refusals {
        node.run_agent(arguments, file);
        node.wait_for(message, &eni, |state| says(state, "NoIOMMU", message));
        let place = place_of(node.machine(), &card);
        assert_eq!(driver(node.machine(), &place), "e1000e");
    }
    let allow = "echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    node.machine().read(allow).unwrap();
    let state = node.wait_for("DPDK has it", &eni, is_bound);
    assert_eq!(state["node"]["dpdk"]["noIOMMU"], true);
    let place = state["node"]["pciAddress"].as_str().unwrap();
    let testpmd = Testpmd::start(node.machine(), place);
    testpmd.forwards(&card);
    testpmd.stop();
}
