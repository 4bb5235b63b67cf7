//! An application that takes packets by AF_XDP: it gets the map from the agent, and when it dies the stack
//! has the packets. Needs root.

use std::{
    io::{self, IoSliceMut, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::Path,
    time::Duration,
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;

use super::{ENI, af_xdp::Application};
use crate::agent_node::AgentNode;

/// Asks the agent for an ENI's map.
fn ask(path: &Path, eni: &str) -> Result<OwnedFd, String> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(format!("{eni}\n").as_bytes()).unwrap();
    let mut text = [0; 256];
    let mut parts = [IoSliceMut::new(&mut text)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::empty(),
    );
    let message = message.unwrap();
    let mut control = message.cmsgs().unwrap();
    if let Some(ControlMessageOwned::ScmRights(rights)) = control.next() {
        // SAFETY: the kernel has just made it for this process, and nobody else knows it.
        return Ok(unsafe { OwnedFd::from_raw_fd(rights[0]) });
    }
    let length = message.bytes;
    let mut rest = String::from_utf8(text[..length].to_vec()).unwrap();
    stream.read_to_string(&mut rest).unwrap();
    Err(rest)
}

/// A datagram from the VPC.
fn send(node: &AgentNode) {
    let text = "echo -n hello > /dev/udp/10.200.101.10/7000";
    let ip = node.node.command("ip");
    ip.args(["netns", "exec", "vpc", "bash", "-c", text])
        .read()
        .unwrap();
}

#[test]
fn an_application_takes_packets_and_when_it_dies_the_stack_has_them() {
    let mut node = AgentNode::start();
    node.plug(ENI);
    let rules = json!([{"match": {"protocol": "UDP", "destinationPorts": [7000]}, "action": {"type": "Socket", "queues": [0]}}]);
    node.record(
        ENI,
        &json!({"xdp": "Native", "enforcement": "Enforce", "steering": rules}),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let flag = format!("--socket={}", path.display());
    node.start_agent(&[&flag]);
    let ready = node.wait_phase(ENI, "Ready");
    assert_eq!(
        ready["egressCheck"], "VPCOnly",
        "what it sends is not seen here"
    );
    node.ip("address add 10.200.101.10/24 dev eth10");
    node.vpc("ip address add 10.200.101.200/24 dev vpc10");
    assert!(
        node.answers("10.200.101.10"),
        "the addresses know each other"
    );
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "root alone");

    let error = ask(&path, "eni-00000099").unwrap_err();
    assert_eq!(
        error,
        "error: find eni-00000099: no ENI of that ID is guarded on this node\n"
    );

    // Without an application the stack has the packet.
    let socket = node.node.udp_bind("10.200.101.10:7000").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let heard = || {
        let mut text = [0; 16];
        socket.recv(&mut text).map(|length| text[..length].to_vec())
    };
    send(&node);
    assert_eq!(heard().unwrap(), b"hello");

    let map = ask(&path, &ENI.id()).unwrap();
    let mut application = node.node.run(|| Application::start("eth10", map)).unwrap();
    send(&node);
    let packet = application.receive().expect("the application has it");
    assert_eq!(&packet[packet.len() - 5..], b"hello");
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert_eq!(
        heard().unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "the stack has not"
    );

    // The next agent keeps the map, and with it the application.
    node.kill_agent();
    node.start_agent(&[&flag]);
    node.wait_phase(ENI, "Ready");
    send(&node);
    application.receive().expect("the application still has it");

    drop(application);
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    node.wait_until("the stack has the packets again", |node| {
        send(node);
        heard().is_ok_and(|text| text == b"hello")
    });
}
