//! The guard in the kernel says of every frame what it says on the host. Needs root.

use std::{collections::BTreeMap, process::Command};

use eniway_abi::{Direction, Reason};
use eniway_agent::bpf::{
    Bpf, Count, Guard, GuardConfig, Mode, Outcome, WantedIngress,
    trial::{Program, Trial},
};
use eniway_ebpf::fixtures::{self, Fixture, Generator, model};
use ipnet::IpNet;

use crate::bpf_world::{ENI, in_world};

const PROGRAMS: [(bool, Program, Direction); 5] = [
    (false, Program::IngressXdp, Direction::Ingress),
    (true, Program::IngressXdp, Direction::Ingress),
    (false, Program::IngressTc, Direction::Ingress),
    (false, Program::Egress, Direction::Egress),
    (true, Program::Egress, Direction::Egress),
];

/// The ENI of the fixtures, as the agent would be told of it.
pub(crate) fn config(mode: Mode, source_dest_check: bool) -> GuardConfig {
    let net = |address: &dyn ToString, length: u8| -> IpNet {
        format!("{}/{length}", address.to_string()).parse().unwrap()
    };
    let v4 = std::net::Ipv4Addr::from;
    let v6 = std::net::Ipv6Addr::from;
    GuardConfig {
        mac: fixtures::MAC,
        mode,
        source_dest_check,
        addresses: vec![
            net(&v4(fixtures::ADDRESS4), 32),
            net(&v4(fixtures::PREFIX4), 28),
            net(&v6(fixtures::ADDRESS6), 128),
            net(&v6(fixtures::PREFIX6), 80),
        ],
        subnets: vec![net(&v4(fixtures::SUBNET4), 24)],
    }
}

#[test]
fn the_agent_writes_the_settings_that_the_fixtures_assume() {
    for is_checked in [true, false] {
        let trial = Trial::new(false, &config(Mode::Enforce, is_checked)).unwrap();
        assert_eq!(trial.config(), fixtures::config(is_checked));
    }
}

#[test]
fn kernel_and_host_agree_on_every_fixture() {
    for (frags, program, direction) in PROGRAMS {
        for (mode, is_checked) in [
            (Mode::Enforce, true),
            (Mode::Enforce, false),
            (Mode::Audit, true),
            (Mode::Off, true),
        ] {
            let mut trial = Trial::new(frags, &config(mode, is_checked)).unwrap();
            for fixture in fixtures::all() {
                if fixture.direction == direction && is_runnable(program, &fixture.frame) {
                    let reason = if is_checked {
                        fixture.checked
                    } else {
                        fixture.unchecked
                    };
                    check(&mut trial, program, &fixture, mode, reason);
                }
            }
        }
    }
}

fn check(trial: &mut Trial, program: Program, fixture: &Fixture, mode: Mode, reason: Reason) {
    let what = format!("{program:?} {mode:?}: {}", fixture.name);
    let (reason, outcome) = match mode {
        Mode::Off => (Reason::Off, Outcome::Passed),
        _ if !reason.is_violation() => (reason, Outcome::Passed),
        Mode::Enforce => (reason, Outcome::Dropped),
        Mode::Audit => (reason, Outcome::Audited),
    };
    let answer = trial.run(program, &fixture.frame, 1).expect(&what);
    let expected = Count {
        direction: fixture.direction,
        reason,
        outcome,
        packets: 1,
        bytes: fixture.frame.len() as u64,
    };
    assert_eq!(answer.counts, [expected], "{what}");
    assert_eq!(answer.is_drop, outcome == Outcome::Dropped, "{what}");
}

/// Guard, kernel and model, three ways to the same answer. Counters are compared by the thousand, and only
/// then frame by frame, to name the one.
#[test]
fn kernel_and_model_agree_on_what_is_generated() {
    const SEEDS: u64 = 10;
    const FRAMES: usize = 10_000;
    const BATCH: usize = 1_000;
    let settings = [(true, 0), (false, SEEDS)];
    for (frags, program, direction) in PROGRAMS {
        for (is_checked, first) in settings {
            let mut trial = Trial::new(frags, &config(Mode::Enforce, is_checked)).unwrap();
            for seed in first..first + SEEDS {
                let frames: Vec<_> = Generator::new(seed)
                    .take(FRAMES)
                    .filter(|frame| is_runnable(program, frame))
                    .collect();
                for (number, batch) in frames.chunks(BATCH).enumerate() {
                    let what = format!("{program:?}, frags {frags}, seed {seed}, batch {number}");
                    agree(&mut trial, program, direction, is_checked, batch, &what);
                }
            }
        }
    }
}

fn agree(
    trial: &mut Trial,
    program: Program,
    direction: Direction,
    is_checked: bool,
    frames: &[Vec<u8>],
    what: &str,
) {
    let mut expected = BTreeMap::<Reason, u64>::new();
    for frame in frames {
        let reason = model::reason(direction, frame, is_checked);
        let (is_drop, _) = trial.judge(program, frame, 1).expect(what);
        assert_eq!(
            is_drop,
            reason.is_violation(),
            "{what}, {reason:?}: {frame:02x?}"
        );
        *expected.entry(reason).or_default() += 1;
    }
    let counts = trial.counts().unwrap();
    let counted = counts.iter().map(|count| (count.reason, count.packets));
    if counted.collect::<BTreeMap<_, _>>() == expected {
        return;
    }
    for frame in frames {
        let answer = trial.run(program, frame, 1).unwrap();
        let reason = model::reason(direction, frame, is_checked);
        assert_eq!(answer.counts[0].reason, reason, "{what}: {frame:02x?}");
    }
    panic!("{what}: counted {counts:?}, expected {expected:?}");
}

/// The kernel makes an skb only of a frame that holds the header its ethertype promises
/// (`bpf_prog_test_run_skb`); shorter ones never reach a TC program.
pub(crate) fn is_runnable(program: Program, frame: &[u8]) -> bool {
    let header = match frame[12..14] {
        [0x08, 0x00] => 20,
        [0x86, 0xdd] => 40,
        _ => 1,
    };
    program == Program::IngressXdp || frame.len() >= 14 + header
}

/// The kernel keeps only the Ethernet header of a long raw frame in an skb's linear part. Needs python3,
/// which can open a packet socket without unsafe code of ours.
#[test]
fn headers_outside_the_linear_part_are_judged() {
    const SEND: &str = "
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(('eni0', 0))
for frame in sys.argv[1:]:
    try:
        wire.send(bytes.fromhex(frame).ljust(5000, b'\\0'))
    except OSError:
        pass  # what the guard drops is an error to the sender
";
    let hex = |fixture: &Fixture| -> String {
        let frame = fixture.frame.iter();
        frame.map(|byte| format!("{byte:02x}")).collect()
    };
    in_world(9000, move |world| {
        let mut bpf = Bpf::open(&world.bpffs.join("eniway")).unwrap();
        let guard = Guard {
            ingress: WantedIngress::Tc,
            config: config(Mode::Enforce, true),
            steering: Vec::new(),
        };
        // Longer, the others are no longer cut short.
        let fixtures: Vec<Fixture> = fixtures::all()
            .into_iter()
            .filter(|it| it.direction == Direction::Egress && it.checked != Reason::Malformed)
            .collect();
        bpf.attach(ENI, world.ifindex(), &guard).unwrap();
        let output = Command::new("python3")
            .args(["-c", SEND])
            .args(fixtures.iter().map(hex))
            .output()
            .expect("python3 is installed");
        assert!(output.status.success(), "{output:?}");
        let counts = bpf.counters(ENI).unwrap();
        // What the node says on its own comes from a MAC that is not the fixtures'.
        for &reason in Reason::ALL.iter().filter(|it| **it != Reason::SourceMac) {
            let sent = fixtures.iter().filter(|it| it.checked == reason).count();
            let counted: u64 = counts
                .iter()
                .filter(|it| it.direction == Direction::Egress && it.reason == reason)
                .map(|it| it.packets)
                .sum();
            assert_eq!(counted, sent as u64, "{reason:?}");
        }
    });
}
