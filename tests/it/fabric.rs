//! The VPC of the lab: it carries what AWS would carry, and stops what AWS would stop.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use lab::fabric::Reason;
use lab::{Attached, Config, Lab, Namespace};

const SOON: Duration = Duration::from_secs(5);

/// A lab with one bare node, whose new interface is up and has its address.
fn lab_with_an_interface() -> (Lab, Attached) {
    let lab = Lab::start(Config::bare(1), &|line| println!("{line}")).expect("needs root");
    let attached = lab.attach_interface("node1", "multus-a", 1).unwrap();
    let node = lab.in_node("node1").unwrap();
    let name = &attached.name;
    let address = format!("{}/24", attached.interface.addresses[0]);
    let address6 = format!("{}/64", attached.interface.ipv6_addresses[0]);
    for words in [
        vec!["link", "set", name, "up"],
        vec!["address", "add", &address, "dev", name],
        vec!["address", "add", &address6, "dev", name, "nodad"],
        vec!["route", "add", "10.200.201.0/24", "via", "10.200.101.1"],
        vec![
            "-6",
            "route",
            "add",
            "fd00:ec2:0:c9::/64",
            "via",
            "fe80:ec2::1",
            "dev",
            name,
        ],
    ] {
        node.command("ip").args(words).read().unwrap();
    }
    (lab, attached)
}

/// Needs root.
#[test]
fn an_attached_interface_talks_inside_its_subnet_and_beyond() {
    let (lab, attached) = lab_with_an_interface();
    let node = lab.in_node("node1").unwrap();
    assert_eq!(attached.name, "eth1");
    let near = lab.host("near", "multus-a").unwrap();
    let far = lab.host("far", "hosts-a").unwrap();
    for target in [
        near.address().to_string(),
        far.address().to_string(),
        near.address6().to_string(),
        far.address6().to_string(),
    ] {
        let ping = node
            .command("ping")
            .args(["-c2", "-i0.2", "-W2", &target])
            .read();
        ping.unwrap_or_else(|error| panic!("{error}\n{:?}", lab.wire(&attached.eni).counters()));
    }
    let server = far.udp_bind((far.address(), 7000)).unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let client = node.udp_bind((attached.interface.addresses[0], 0)).unwrap();
    // More than a classic MTU, so that a jumbo frame crosses.
    client.send_to(&[7; 8000], (far.address(), 7000)).unwrap();
    assert_eq!(server.recv_from(&mut [0; 9000]).unwrap().0, 8000);
}

/// Needs root.
#[test]
fn a_spoofed_source_is_stopped_until_the_check_is_switched_off() {
    let (lab, attached) = lab_with_an_interface();
    let node = lab.in_node("node1").unwrap();
    let near = lab.host("near", "multus-a").unwrap();
    let server = near.udp_bind((near.address(), 7000)).unwrap();
    server
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    node.command("ip")
        .args(["address", "add", "10.200.101.99/32", "dev", &attached.name])
        .read()
        .unwrap();
    let client = node.udp_bind("10.200.101.99:0").unwrap();
    // ARP itself must be honest: ask with the right address first.
    node.command("ping")
        .args(["-c1", "-W2", &near.address().to_string()])
        .read()
        .unwrap();
    client.send_to(b"spoofed", (near.address(), 7000)).unwrap();
    let missed = server.recv_from(&mut [0; 100]).unwrap_err();
    assert!(
        matches!(missed.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{missed}"
    );
    let wire = lab.wire(&attached.eni);
    wire.expect("the spoofed datagram", SOON, |frame| {
        frame.ends_with(b"spoofed")
    })
    .unwrap();
    assert_eq!(wire.counters()[&Reason::SourceAddress], 1);

    let off = ec2_sim::Request::new("ModifyNetworkInterfaceAttribute")
        .with("Version", "2016-11-15")
        .with("NetworkInterfaceId", &attached.eni)
        .with("SourceDestCheck.Value", false);
    lab.ec2()
        .with_world(|world, now| world.call(&off, now))
        .unwrap();
    let sends_until_received =
        lab::wait::until("the datagram arrives with the check off", SOON, || {
            client.send_to(b"spoofed", (near.address(), 7000)).unwrap();
            server
                .recv_from(&mut [0; 100])
                .map_err(|error| format!("{error}: {:?}", wire.counters()))
        });
    sends_until_received.unwrap();
}

/// Needs root.
#[test]
fn an_injected_frame_reaches_the_node_whatever_it_says() {
    let (lab, attached) = lab_with_an_interface();
    let node = lab.in_node("node1").unwrap();
    let raw = node.command("cat").arg(format!(
        "/sys/class/net/{}/statistics/rx_packets",
        attached.name
    ));
    let before: u64 = raw.read().unwrap().trim().parse().unwrap();
    lab.wire(&attached.eni).inject(&[0xff; 60]).unwrap();
    lab::wait::until("the frame is counted", SOON, || {
        let raw = node.command("cat").arg(format!(
            "/sys/class/net/{}/statistics/rx_packets",
            attached.name
        ));
        let now: u64 = raw.read().unwrap().trim().parse().unwrap();
        if now > before {
            Ok(())
        } else {
            Err(format!("{now} frames"))
        }
    })
    .unwrap();
}

/// Needs root.
#[test]
fn a_detached_interface_disappears_and_a_terminated_instance_takes_its_node_down() {
    let (lab, attached) = lab_with_an_interface();
    let node = lab.in_node("node1").unwrap();
    lab.detach_interface(&attached.eni).unwrap();
    lab::wait::until("eth1 is gone", SOON, || {
        let links = node.command("ip").args(["-br", "link"]).read().unwrap();
        if links.contains("eth1") {
            Err(links)
        } else {
            Ok(())
        }
    })
    .unwrap();
    drop(node);
    let terminate = ec2_sim::Request::new("TerminateInstances")
        .with("Version", "2016-11-15")
        .with("InstanceId.1", &lab.nodes()[0].instance);
    lab.ec2()
        .with_world(|world, now| world.call(&terminate, now))
        .unwrap();
    lab::wait::until("the node is gone", SOON, || match lab.in_node("node1") {
        Ok(_) => Err("it is up".to_owned()),
        Err(_) => Ok(()),
    })
    .unwrap();
}

/// Needs root.
#[test]
fn the_metadata_service_answers_on_the_node() {
    let (lab, attached) = lab_with_an_interface();
    let node = lab.in_node("node1").unwrap();
    let token = http(
        &node,
        "PUT /latest/api/token",
        "X-aws-ec2-metadata-token-ttl-seconds: 60",
    );
    let macs = "GET /latest/meta-data/network/interfaces/macs/";
    let answer = http(&node, macs, &format!("X-aws-ec2-metadata-token: {token}"));
    assert!(answer.contains(&attached.interface.mac), "{answer}");
}

/// The body of the metadata service's answer.
fn http(node: &Namespace, line: &str, header: &str) -> String {
    let mut connection = node.tcp_connect("169.254.169.254:80").unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: imds\r\nConnection: close\r\nContent-Length: 0\r\n{header}\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
