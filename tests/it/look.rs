//! `eniway-agent inspect`, `top` and `monitor` beside a guard that works. Needs root.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::Duration,
};

use eniway_agent::bpf::{Bpf, Mode, WantedIngress};

use crate::bpf_world::{ENI, OWN, STRANGER, World, guard, in_world};

fn agent(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(eniway_tests::binary("eniway-agent"));
    command
        .args(arguments)
        .arg("--bpffs")
        .arg(world.bpffs.join("eniway"))
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn attach(world: &World, wanted: WantedIngress) -> Bpf {
    let mut bpf = Bpf::open(&world.bpffs.join("eniway")).unwrap();
    let guard = guard(wanted, Mode::Enforce);
    bpf.attach(ENI, world.ifindex(), &guard).unwrap();
    bpf
}

/// A monitor that watches already.
struct Monitor {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Monitor {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut child = agent(world, &[&["monitor"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.starts_with("watching 1 ENIs"), "{line}");
        Self { child, stderr }
    }

    /// What it said of packets, and what it said at its end.
    fn end(mut self) -> (Vec<String>, String) {
        let stdout = BufReader::new(self.child.stdout.take().unwrap());
        let lines = stdout.lines().map(Result::unwrap).collect();
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        (lines, rest)
    }

    fn interrupt(&self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    }
}

fn check_monitor(wanted: WantedIngress) {
    in_world(1500, move |world| {
        let _bpf = attach(world, wanted);
        let capture = tempfile::NamedTempFile::new().unwrap();
        let path = capture.path().to_str().unwrap();
        let monitor = Monitor::start(world, &["eni0", "--count", "2", "--pcap", path]);
        assert_eq!(world.arriving(), ["own"]);
        assert_eq!(world.leaving(), ["own"]);
        let (lines, end) = monitor.end();
        let [arrived, left] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        let stranger = format!("{STRANGER}.7000: UDP, length 50");
        assert!(
            arrived.contains(&format!(
                " {ENI} eni0 ingress dropped destination_mismatch: "
            )),
            "{arrived}"
        );
        assert!(arrived.ends_with(&stranger), "{arrived}");
        assert!(
            left.contains(&format!("egress dropped source_mismatch: {STRANGER}.")),
            "{left}"
        );
        assert!(
            end.starts_with("2 packets; 0 more beyond the rate, 0 "),
            "{end}"
        );
        read_by_tcpdump(capture.path());
    });
}

/// Needs tcpdump, which reads what Wireshark reads.
fn read_by_tcpdump(capture: &Path) {
    let output = Command::new("tcpdump")
        .args(["-n", "-tttt", "-r"])
        .arg(capture)
        .env("TZ", "UTC")
        .output()
        .expect("tcpdump is installed");
    let text = text(&output);
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_else(|| panic!("{text}"));
    let line = next();
    assert!(line.contains(&format!("> {STRANGER}.7000:")), "{line}");
    assert!(line.starts_with(&today), "{line}");
    assert!(next().contains(&format!("IP {STRANGER}.")), "{text}");
}

#[test]
fn monitor_shows_what_xdp_and_tcx_drop() {
    check_monitor(WantedIngress::XdpNative);
}

#[test]
fn monitor_shows_what_tc_drops() {
    check_monitor(WantedIngress::Tc);
}

#[test]
fn monitor_is_bounded_and_alone_and_leaves_nothing_behind() {
    in_world(1500, |world| {
        let bpf = attach(world, WantedIngress::XdpNative);
        // What nobody watches is counted, not kept.
        world.send_to(STRANGER, "unseen");
        let monitor = Monitor::start(world, &["--rate", "3"]);
        let second = agent(world, &["monitor"]).output().unwrap();
        assert!(!second.status.success());
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(
            said.contains("another `eniway-agent monitor` does"),
            "{said}"
        );
        for _ in 0..60 {
            world.send_to(STRANGER, "stranger");
        }
        world.send_to(OWN, "own");
        let mut buffer = [0; 16];
        world.node.recv_from(&mut buffer).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        monitor.interrupt();
        let (lines, end) = monitor.end();
        assert!((1..30).contains(&lines.len()), "{lines:?}");
        let suppressed = 60 - lines.len();
        let expected = format!("{} packets; {suppressed} more beyond", lines.len());
        assert!(end.starts_with(&expected), "{end}");

        // One that is killed leaves the programs telling; the next one begins with what is new.
        let mut killed = Monitor::start(world, &[]);
        killed.child.kill().unwrap();
        killed.child.wait().unwrap();
        world.send_to(STRANGER, "between");
        world.send_to(OWN, "own");
        world.node.recv_from(&mut buffer).unwrap();
        let monitor = Monitor::start(world, &["--count", "1"]);
        world.send_to(STRANGER, "a longer one");
        let (lines, _) = monitor.end();
        assert!(lines[0].ends_with("length 54"), "{lines:?}");
        drop(bpf);
    });
}

#[test]
fn inspect_and_top_show_the_guard() {
    in_world(1500, |world| {
        let _bpf = attach(world, WantedIngress::XdpNative);
        assert_eq!(world.arriving(), ["own"]);
        let shown = text(&agent(world, &["inspect", ENI]).output().unwrap());
        for expected in [
            &*format!("{ENI} eni0 (index "),
            "  ingress      XdpNative, multi-buffer, program ",
            "  egress       Tc, program ",
            "  enforcement  Enforce",
            "  MAC          02:00:00:00:00:0a",
            "  addresses    10.0.1.10/32\n",
            "  ingress   dropped   destination_mismatch             1 packets               50 bytes",
        ] {
            assert!(shown.contains(expected), "{expected:?} is not in:\n{shown}");
        }
        let top = agent(world, &["top", "eni0", "--count", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Until it ends there are packets in every tenth of a second.
        for _ in 0..15 {
            world.send_to(STRANGER, "stranger");
            std::thread::sleep(Duration::from_millis(100));
        }
        let shown = text(&top.wait_with_output().unwrap());
        assert!(shown.contains("destination_mismatch"), "{shown}");

        let unknown = agent(world, &["inspect", "eth9"]).output().unwrap();
        let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
        assert!(!unknown.status.success());
        assert!(
            said.contains(&format!("no guard on \"eth9\"; there are {ENI} eni0")),
            "{said}"
        );
    });
}
