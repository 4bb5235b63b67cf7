//! The agent without Kubernetes on an instance that is a machine: EC2 plugs and pulls its cards.

use std::time::Duration;

use etherparse::PacketBuilder;
use lab::vm::Model;
use lab::wait;

use super::node::Node;
use super::{SOON, bytes_of, kernel, options, place_of, wait_pulled};

/// Where the VPC's router is in the lab's subnet multus-a, and somebody else's address there.
const ROUTER: [u8; 4] = [10, 200, 101, 1];
const STRANGER: [u8; 4] = [10, 200, 101, 250];
const ROUTER_MAC: [u8; 6] = [6, 0, 0, 0, 0, 1];
/// Between two frames that ask the same.
const AGAIN: Duration = Duration::from_secs(1);

/// An ARP request of the VPC's router.
fn who_has(address: [u8; 4]) -> Vec<u8> {
    let about = [0, 1, 8, 0, 6, 4, 0, 1];
    let mut frame = [&[0xff; 6][..], &ROUTER_MAC, &[8, 6], &about].concat();
    frame.extend([&ROUTER_MAC[..], &ROUTER, &[0; 6], &address].concat());
    frame.resize(60, 0);
    frame
}

/// Whether a frame answers that.
fn is_answer(frame: &[u8], address: [u8; 4]) -> bool {
    frame.get(12..14) == Some(&[8, 6])
        && frame.get(20..22) == Some(&[0, 2])
        && frame.get(28..32) == Some(&address)
}

#[test]
fn an_eni_that_ec2_plugs_in_is_set_up_and_guarded_in_its_driver_until_ec2_pulls_it() {
    let node = Node::start(&kernel("6.12"), &options(false), Model::Virtio);
    node.run_agent(
        "",
        r#"
[[interface]]
name = "fast"
addressing = "Host"
[interface.dataPath]
xdp = "Native"
enforcement = "Enforce"
"#,
    );
    let (eni, card) = node.attach(1);
    let state = node.wait_ready(&eni);
    assert_eq!(state["node"]["xdp"]["mode"], "Native");
    assert_eq!(state["node"]["driver"], "virtio_net");
    let machine = node.machine();
    assert_eq!(state["node"]["pciAddress"], place_of(machine, &card));
    let link = machine.read("ip -details link show fast-1").unwrap();
    assert!(link.contains(&eni.mac) && link.contains("xdp"), "{link}");

    // It answers for its own address; a frame for another reaches no stack, and is counted.
    let own = eni.addresses[0].octets();
    wait::until("it answers the router", SOON, || {
        card.send(&who_has(own))
            .map_err(|error| error.to_string())?;
        let answer = card.find(AGAIN, |frame| is_answer(frame, own)).unwrap();
        answer.ok_or_else(|| machine.console())
    })
    .unwrap();
    let mut frame = Vec::new();
    let packet =
        PacketBuilder::ethernet2(ROUTER_MAC, bytes_of(&eni.mac)).ipv4(ROUTER, STRANGER, 64);
    packet.udp(1, 2).write(&mut frame, &[0; 64]).unwrap();
    card.send(&frame).unwrap();
    wait::until("a stranger's frame is dropped", SOON, || {
        let inspect = format!(
            "{} inspect {}",
            eniway_tests::binary("eniway-agent").display(),
            eni.id
        );
        let seen = machine.read(&inspect).map_err(|error| error.to_string())?;
        let is_drop = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.starts_with(&["ingress", "dropped", "destination_mismatch", "1"])
        };
        match seen.lines().any(is_drop) {
            true => Ok(()),
            false => Err(seen),
        }
    })
    .unwrap();

    node.detach(&eni);
    wait_pulled(machine, &card);
    node.wait_gone(&eni);
}

#[test]
fn an_instance_that_loses_its_power_gets_its_interfaces_back_as_they_were() {
    let node = Node::start(&kernel("6.12"), &options(true), Model::E1000e);
    let file = "[[interface]]\naddressing = \"Host\"\n[interface.dataPath]\nxdp = \"Auto\"";
    let (eni, card) = node.attach(1);
    node.run_agent("", file);
    let before = node.wait_ready(&eni);
    assert_eq!(before["node"]["driver"], "e1000e");
    // Its driver knows no XDP.
    assert_eq!(before["node"]["xdp"]["mode"], "Tc");

    node.reboot();
    let machine = node.machine();
    let place = place_of(machine, &card);
    let addresses = machine.read("ip address show").unwrap();
    let own = eni.addresses[0].to_string();
    assert!(!addresses.contains(&own), "{addresses}");
    node.run_agent("", file);
    let after = node.wait_ready(&eni);
    for what in ["driver", "xdp", "mtu"] {
        assert_eq!(after["node"][what], before["node"][what], "{what}");
    }
    assert_eq!(after["node"]["pciAddress"], place);
    let addresses = machine.read("ip address show").unwrap();
    assert!(addresses.contains(&own), "{addresses}");
}
