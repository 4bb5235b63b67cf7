//! Ten thousand changes of links while an interface comes: the agent stays small, and misses nothing. Needs root.

use std::io::Write as _;

use serde_json::json;

use super::ENI;
use crate::agent_node::{AgentNode, Eni};

const LATE: Eni = Eni(11);
/// Each of them is an event.
const CHANGES: usize = 10_000;

/// What the agent takes: KiB at the most so far, and seconds of a processor.
fn taken(node: &AgentNode) -> (u64, f64) {
    let process = node.agent_process();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = peak.unwrap().split_whitespace().nth(1).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let times = rest.split_whitespace().skip(11).take(2);
    // A hundredth of a second each (USER_HZ).
    let hundredths: f64 = times.map(|time| time.parse::<f64>().unwrap()).sum();
    (peak.parse().unwrap(), hundredths / 100.0)
}

#[test]
fn a_storm_of_link_events_costs_little_and_hides_nothing() {
    let mut node = AgentNode::start();
    node.plug(ENI);
    for eni in [ENI, LATE] {
        node.record(eni, &json!({"xdp": "Native", "enforcement": "Enforce"}));
    }
    node.start_agent(&[]);
    node.wait_phase(ENI, "Ready");
    node.wait_phase(LATE, "Pending");
    node.ip("link add stormy type veth peer name calm");
    let (before, busy_before) = taken(&node);

    let mut batch = tempfile::NamedTempFile::new().unwrap();
    for number in 0..CHANGES {
        writeln!(batch, "link set dev stormy mtu {}", 1400 + number % 2).unwrap();
    }
    let half = CHANGES / 2;
    let path = batch.path().to_str().unwrap().to_owned();
    let storm = node.node.command("ip").args(["-batch", &path]);
    let mut storm = storm.spawn().unwrap();
    node.plug(LATE);
    node.wait_phase(LATE, "Ready");
    assert!(storm.wait().unwrap().success());

    // What comes and goes behind the storm is seen at once as well.
    node.ip("link set eth11 down");
    node.wait_until("it is set up again", |node| {
        node.ip("link show eth11").contains(",UP")
    });
    let (peak, busy) = taken(&node);
    let (grown, worked) = (peak - before, busy - busy_before);
    println!("{CHANGES} changes: {grown} KiB more, {worked} s of a processor");
    assert!(grown < 8 * 1024, "{grown} KiB");
    // Events are taken together: far fewer looks than events, each of a few milliseconds.
    assert!(worked < half as f64 / 1000.0, "{worked} s");
}
