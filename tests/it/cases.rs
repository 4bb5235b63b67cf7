//! J's manifests as they are, from `kubectl apply` to packets on a node. Needs root (the lab).

mod rig;

use std::net::Ipv4Addr;

use ec2_sim::Interface;
use etherparse::PacketBuilder;
use serde_json::{Value, json};

pub(crate) use self::rig::Rig;
use self::rig::{condition, manifest};
use crate::agent_node::established;

/// J's definition of NodeENI.
pub(crate) const PEER_CRD: &str = include_str!("cases/peer-crd.yaml");

/// What J's users read in `status.attachments` for an interface in EC2; the time aside.
fn listed(eni: &Interface, cidr: &str) -> Value {
    let attachment = eni.attachment.as_ref().unwrap();
    json!({
        "nodeID": "node1",
        "instanceID": attachment.instance.as_str(),
        "eniID": eni.id.as_str(),
        "attachmentID": attachment.id.as_str(),
        "subnetID": eni.subnet.as_str(),
        "subnetCIDR": cidr,
        "mtu": 9001,
        "deviceIndex": attachment.slot.index,
        "status": "attached",
    })
}

/// The list without its times, each of which must be one.
fn without_times(status: &Value) -> Vec<Value> {
    let mut all = status["attachments"].as_array().unwrap().clone();
    for entry in &mut all {
        let time = entry.as_object_mut().unwrap().remove("lastUpdated");
        let time = time.unwrap_or_default();
        time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    all
}

fn is_up(rig: &Rig, name: &str) -> bool {
    let link = rig.node.ip(&format!("link show {name}"));
    link.contains(",UP") && link.contains("mtu 9001 ")
}

/// A datagram from another host of the VPC, as its router hands it over.
fn datagram(eni: &Interface, destination: Ipv4Addr) -> Vec<u8> {
    let mac: eniway_api::MacAddress = eni.mac.parse().unwrap();
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], mac.0)
        .ipv4([10, 200, 201, 9], destination.octets(), 64)
        .udp(4001, 4002);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"eniway").unwrap();
    frame
}

/// The guard knows the interface's address: what is for it passes, what is not is seen and, because
/// the manifest has no `dataPath`, only counted.
fn is_guarded(rig: &Rig, eni: &Interface) {
    let id = eni.id.as_str();
    for (destination, labels) in [
        (eni.addresses[0], &["ingress", "passed"][..]),
        (
            Ipv4Addr::new(10, 200, 111, 250),
            &["ingress", "audited", "destination_mismatch"],
        ),
    ] {
        let before = rig.node.packets_of(id, labels);
        let wire = rig.node.lab.wire(id);
        wire.inject(&datagram(eni, destination)).unwrap();
        rig.node
            .wait_until(&format!("{destination} is {labels:?}"), |node| {
                node.packets_of(id, labels) > before
            });
    }
}

#[test]
fn case_1_works_whole() {
    let rig = Rig::start(|_| ());
    rig.node.lab.apply(&manifest("case-1-plain")).unwrap();
    let status = rig.ready("multi-subnet-nodeeni", 2);
    assert_eq!(*condition(&status, "DPDK"), Value::Null);
    let enis = rig.interfaces();
    let expected = [
        listed(&enis[0], "10.200.111.0/24"),
        listed(&enis[1], "10.200.112.0/24"),
    ];
    assert_eq!(without_times(&status), expected);
    for (eni, index) in enis.iter().zip([2, 3]) {
        let attachment = eni.attachment.as_ref().unwrap();
        assert_eq!(attachment.slot.index, index);
        assert!(attachment.delete_on_termination);
        assert_eq!(eni.description, "Two plain interfaces");
        assert!(is_up(&rig, &format!("eth{index}")));
        is_guarded(&rig, eni);
    }
    // The cable has this MTU from the start; whoever changes it is corrected.
    rig.node.ip("link set eth2 mtu 1500");
    rig.node
        .wait_until("the manifest's MTU is back", |_| is_up(&rig, "eth2"));
    rig.delete_all();
}

/// The second and the third case have two NodeENIs, each with one interface.
const PAIR: [(&str, u32); 2] = [("10.200.111.0/24", 2), ("10.200.112.0/24", 3)];

#[test]
fn case_2_works_whole_but_for_the_kubelet_that_this_node_has_not() {
    let rig = Rig::start(|_| ());
    rig.node
        .lab
        .apply(&manifest("case-2-kernel-device"))
        .unwrap();
    let names = ["test-sriov-nondpdk-1", "test-sriov-nondpdk-2"];
    let statuses = names.map(|name| rig.ready(name, 1));
    let enis = rig.interfaces();
    for ((status, eni), (cidr, index)) in statuses.iter().zip(&enis).zip(PAIR) {
        let dpdk = condition(status, "DPDK");
        assert_eq!(dpdk["status"], "False");
        assert_eq!(dpdk["reason"], "NotOffered");
        assert_eq!(without_times(status), [listed(eni, cidr)]);
        assert_eq!(eni.attachment.as_ref().unwrap().slot.index, index);
        assert!(is_up(&rig, &format!("eth{index}")));
    }
    rig.delete_all();
}

/// The cables of this lab are no PCI devices; those of virtual machines are bound.
#[test]
fn case_3_is_attached_and_says_what_keeps_a_device_from_dpdk() {
    let rig = Rig::start(|_| ());
    rig.node.lab.apply(&manifest("case-3-dpdk")).unwrap();
    for name in ["test-sriov-integration-1", "test-sriov-integration-2"] {
        let status = rig.wait_for(name, "it says why the device is not bound", |status| {
            let dpdk = condition(status, "DPDK");
            let message = dpdk["message"].as_str().unwrap_or_default();
            dpdk["reason"] == "NotBound"
                && message.contains("is virtual")
                && status["attached"] == 1
                && condition(status, "Ready")["reason"] == "NodeFailed"
        });
        assert_eq!(status["ready"], 0);
    }
    rig.delete_all();
}

/// Objects that J accepted and we would refuse: they stay readable, and harm no other.
const STORED: &str = "
apiVersion: networking.k8s.aws/v1alpha1
kind: NodeENI
metadata: {name: everywhere}
spec: {nodeSelector: {}, subnetID: subnet-08c2ddc07218f1105, securityGroupNames: [multus-test-sg]}
---
apiVersion: networking.k8s.aws/v1alpha1
kind: NodeENI
metadata: {name: careless}
spec: {nodeSelector: {ng: other}, mtu: -1, deviceIndex: 300, dpdkPCIAddress: '00:07.0'}
";

#[test]
fn a_cluster_with_the_peers_definition_is_taken_over_in_place() {
    let mut uid = String::new();
    let uid_path = ["get", "neni", "-o", "jsonpath={.items[*].metadata.uid}"];
    let rig = Rig::start(|lab| {
        lab.apply(PEER_CRD).unwrap();
        established(lab, "nodeenis.networking.k8s.aws");
        lab.apply(&manifest("case-1-plain")).unwrap();
        lab.apply(STORED).unwrap();
        // J's controller said this of a node that is gone.
        let status = json!({"status": {"attachments": [{"nodeID": "gone", "status": "attached",
            "eniID": "eni-0123456789abcdef0", "lastUpdated": "2025-07-03T18:45:26Z"}]}})
        .to_string();
        let patch = ["patch", "neni", "everywhere", "--subresource=status"];
        let patch = [&patch[..], &["--type=merge", "-p", &status]].concat();
        lab.kubectl(&patch).unwrap();
        uid = lab.kubectl(&uid_path).unwrap();
    });
    rig.ready("multi-subnet-nodeeni", 2);
    assert_eq!(rig.node.lab.kubectl(&uid_path).unwrap(), uid);
    assert_eq!(rig.get("careless")["spec"]["mtu"], -1);
    assert_eq!(rig.interfaces().len(), 2, "an empty selector selects none");
    // The rules are in force for what is written from now on.
    let refused = rig.node.lab.apply(&STORED.replace("everywhere", "new"));
    assert!(refused.unwrap_err().to_string().contains("nodeSelector"));
    rig.delete_all();
}
