//! What programs of a debug build tell, from the kernel to the terminal. Needs root, and the feature: part `log`.
#![cfg(feature = "bpf-log")]

use std::{
    io::{BufRead as _, BufReader},
    net::UdpSocket,
    process::{Command, Stdio},
};

use eniway_agent::bpf::{Bpf, Guard, GuardConfig, Mode, WantedIngress};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

const ENI: &str = "eni-0123456789abcdef0";

#[test]
fn every_verdict_is_told() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .expect("root may unshare; this test needs root");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let folder = tempfile::tempdir().unwrap();
    mount(none, folder.path(), Some("bpf"), MsFlags::empty(), none).unwrap();
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.unwrap().success());

    let mut bpf = Bpf::open(folder.path()).unwrap();
    let config = GuardConfig {
        mac: [2, 0, 0, 0, 0, 10],
        mode: Mode::Enforce,
        source_dest_check: true,
        addresses: vec!["10.0.1.10/32".parse().unwrap()],
        subnets: vec!["10.0.1.0/24".parse().unwrap()],
    };
    let guard = Guard {
        ingress: WantedIngress::Tc,
        config,
        steering: Vec::new(),
    };
    // The loopback interface of a new namespace.
    bpf.attach(ENI, 1, &guard).unwrap();
    let mut log = Command::new(env!("CARGO_BIN_EXE_eniway-agent"))
        .args(["log", ENI, "--bpffs"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // What the guard drops is an error to the sender.
    let _dropped = socket.send_to(b"lie", "127.0.0.1:9");
    let mut line = String::new();
    let mut lines = BufReader::new(log.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    log.kill().unwrap();
    log.wait().unwrap();
    // Its MAC address is not the ENI's.
    assert_eq!(
        line,
        format!("{ENI} lo egress dropped: source_mac, 45 bytes\n")
    );
}
