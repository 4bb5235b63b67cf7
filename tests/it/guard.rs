//! The guard in the kernel says of every frame what it says on the host. Needs root.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use eniway_abi::{Direction, Reason};
use eniway_agent::bpf::{
    Count, GuardConfig, Mode, Outcome,
    trial::{Program, Trial},
};
use eniway_ebpf::fixtures;
use ipnet::IpNet;

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

fn check(
    trial: &mut Trial,
    program: Program,
    fixture: &fixtures::Fixture,
    mode: Mode,
    reason: Reason,
) {
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

/// The kernel makes an skb only of a frame that holds the header its ethertype promises
/// (`bpf_prog_test_run_skb`); shorter ones never reach a TC program.
fn is_runnable(program: Program, frame: &[u8]) -> bool {
    let header = match frame[12..14] {
        [0x08, 0x00] => 20,
        [0x86, 0xdd] => 40,
        _ => 1,
    };
    program == Program::IngressXdp || frame.len() >= 14 + header
}
