//! What goes over a way: frames of 60 bytes, and TCP.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use eniway_agent::bpf::bench::live::{Sink, Source};
use nix::net::if_::if_nametoindex;

use crate::{
    way::Way,
    world::{Done, HOST, POD, World, inside},
};

/// Frames between two looks at the clock.
const BURST: u32 = 20_000;

/// What a way carries in a second.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Frames into the pod.
    pub(crate) frames: f64,
    /// Bits of TCP.
    pub(crate) into_pod: f64,
    pub(crate) out_of_pod: f64,
}

impl Load {
    pub(crate) fn measure(
        _world: &World,
        way: Way,
        packets: Duration,
        tcp: Duration,
    ) -> Done<Self> {
        let into_pod = stream("pod", "vpc", POD, tcp)?;
        let out_of_pod = stream("vpc", "pod", HOST, tcp)?;
        let frame = frame(way.mac(), POD);
        let mut sink = inside("pod", || Ok(Sink::new("net1")?))?;
        let before = sink.count()?;
        let took = flood(&frame, packets)?;
        let arrived = sink.count()? - before;
        Ok(Self {
            frames: arrived as f64 / took.as_secs_f64(),
            into_pod,
            out_of_pod,
        })
    }
}

/// Frames a second that the ENI's driver receives.
pub(crate) fn arrivals(_world: &World, frame: &[u8], time: Duration) -> Done<f64> {
    let received = || -> Done<u64> {
        let text = fs::read_to_string("/proc/thread-self/net/dev")?;
        let line = text.lines().find(|line| line.trim().starts_with("eni0:"));
        let line = line.ok_or("eni0 is gone")?;
        let number = line.split_whitespace().nth(2).ok_or("no packets")?;
        Ok(number.parse()?)
    };
    let before = received()?;
    let took = flood(frame, time)?;
    Ok((received()? - before) as f64 / took.as_secs_f64())
}

/// Sends copies of a frame from the VPC for some time; the time that it took.
fn flood(frame: &[u8], time: Duration) -> Done<Duration> {
    let took = inside("vpc", || {
        let mut source = Source::new(if_nametoindex("vpc0")?)?;
        source.send(frame, BURST)?;
        let begun = Instant::now();
        while begun.elapsed() < time {
            source.send(frame, BURST)?;
        }
        Ok(begun.elapsed())
    })?;
    Ok(took)
}

/// A frame of 60 bytes with a UDP datagram from the host.
pub(crate) fn frame(mac: [u8; 6], to: &str) -> Vec<u8> {
    let mut frame = mac.to_vec();
    frame.extend([2, 0, 0, 0, 0, 0x14, 0x08, 0x00]);
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    for address in [HOST, to] {
        frame.extend(
            address
                .split('.')
                .map(|part| part.parse::<u8>().unwrap_or(0)),
        );
    }
    let sum: u32 = frame[14..34]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend([0x13, 0x88, 0x17, 0x70, 0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// Bits a second of one TCP flow, by iperf3: from `sender` to `receiver`.
fn stream(receiver: &str, sender: &str, address: &str, time: Duration) -> Done<f64> {
    let start = |name: &str, words: &str| -> Done<std::process::Child> {
        inside(name, || {
            let iperf = Command::new("iperf3")
                .args(words.split_whitespace())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            Ok(iperf.map_err(|error| format!("iperf3: {error}"))?)
        })
    };
    let mut server = start(receiver, &format!("--server --one-off --bind {address}"))?;
    let arguments = format!("--client {address} --time {} --json", time.as_secs());
    // The server is not there at once.
    let mut said = serde_json::Value::Null;
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(50));
        let output = start(sender, &arguments)?.wait_with_output()?;
        said = serde_json::from_slice(&output.stdout)?;
        if said["error"].is_null() {
            break;
        }
    }
    server.kill()?;
    server.wait()?;
    let rate = &said["end"]["sum_received"]["bits_per_second"];
    let rate = rate.as_f64();
    Ok(rate.ok_or_else(|| format!("iperf3 to {address}: {}", said["error"]))?)
}
