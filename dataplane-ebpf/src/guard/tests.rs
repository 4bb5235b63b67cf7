//! Every fixture gets its verdict, in every mode; no bytes whatever make the guard panic.

use std::collections::BTreeSet;

use eniway_abi::{Config, Direction, Outcome, Reason, mode};
use proptest::prelude::*;

use super::{Addresses as _, Verdict, egress, ingress};
use crate::{
    fixtures::{self, Generator, Own, model},
    packet::{Bytes, Wire, ethertype},
};

fn judge<P: Bytes + ?Sized>(direction: Direction, packet: &P, config: &Config) -> Verdict {
    match direction {
        Direction::Ingress | Direction::ToPod => ingress(packet, &Own, config),
        Direction::Egress | Direction::FromPod => egress(packet, &Own, config),
    }
}

#[test]
fn every_fixture_is_decided_by_its_rule() {
    for fixture in fixtures::all() {
        for (is_checked, reason) in [(true, fixture.checked), (false, fixture.unchecked)] {
            let config = fixtures::config(is_checked);
            let verdict = judge(fixture.direction, fixture.frame.as_slice(), &config);
            assert_eq!(
                verdict.reason, reason,
                "{} ({:?}, check {is_checked})",
                fixture.name, fixture.direction,
            );
        }
    }
}

#[test]
fn every_reason_has_a_fixture() {
    let seen: Vec<Reason> = fixtures::all()
        .iter()
        .map(|fixture| fixture.checked)
        .collect();
    for reason in said_by_the_guard() {
        assert!(
            *reason == Reason::Off || seen.contains(reason),
            "{reason:?}"
        );
    }
}

/// Whether a packet is steered is not the guard's to say.
fn said_by_the_guard() -> impl Iterator<Item = &'static Reason> {
    Reason::ALL.iter().filter(|it| **it != Reason::Steering)
}

#[test]
fn names_of_fixtures_are_unique() {
    let mut names: Vec<_> = fixtures::all().iter().map(|fixture| fixture.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_mode_decides_what_becomes_of_a_violation() {
    for fixture in fixtures::all() {
        let outcome = |mode| {
            let config = Config {
                mode,
                ..fixtures::config(true)
            };
            judge(fixture.direction, fixture.frame.as_slice(), &config)
        };
        let (enforced, audited) = if fixture.checked.is_violation() {
            (Outcome::Dropped, Outcome::Audited)
        } else {
            (Outcome::Passed, Outcome::Passed)
        };
        assert_eq!(outcome(mode::ENFORCE).outcome, enforced, "{}", fixture.name);
        assert_eq!(outcome(mode::AUDIT).outcome, audited, "{}", fixture.name);
        assert_eq!(
            outcome(mode::OFF),
            Verdict {
                reason: Reason::Off,
                outcome: Outcome::Passed
            }
        );
    }
}

#[test]
fn a_tag_beside_the_frame_is_a_tag() {
    struct Tagged<'a>(&'a [u8]);
    impl Bytes for Tagged<'_> {
        fn length(&self) -> usize {
            self.0.length()
        }
        fn read<T: Wire>(&self, offset: usize) -> Option<T> {
            self.0.read(offset)
        }
        fn is_tagged(&self) -> bool {
            true
        }
    }
    for fixture in fixtures::all() {
        let verdict = judge(
            fixture.direction,
            &Tagged(&fixture.frame),
            &fixtures::config(true),
        );
        assert_eq!(verdict.reason, Reason::Vlan, "{}", fixture.name);
    }
}

#[test]
fn an_eni_without_addresses_receives_nothing_and_sends_nothing() {
    let config = Config {
        primary4: [0; 4],
        cover4: eniway_abi::Cover4::EMPTY,
        cover6: eniway_abi::Cover6::EMPTY,
        ..fixtures::config(true)
    };
    for fixture in fixtures::all() {
        let verdict = judge(fixture.direction, fixture.frame.as_slice(), &config);
        assert_ne!(verdict.reason, Reason::Passed, "{}", fixture.name);
    }
}

/// Guard and model are written apart. A frame on which they differ is a defect of one; its seed and number
/// find it again.
#[test]
fn the_model_agrees_on_what_is_generated() {
    const SEEDS: u64 = 100;
    const FRAMES: usize = 10_000;
    const EACH: [(Direction, bool); 4] = [
        (Direction::Ingress, true),
        (Direction::Ingress, false),
        (Direction::Egress, true),
        (Direction::Egress, false),
    ];
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        for (number, frame) in Generator::new(seed).take(FRAMES).enumerate() {
            for (direction, is_checked) in EACH {
                let verdict = judge(direction, frame.as_slice(), &fixtures::config(is_checked));
                let expected = model::reason(direction, &frame, is_checked);
                assert_eq!(
                    verdict.reason, expected,
                    "seed {seed}, frame {number}, {direction:?}, check {is_checked}: {frame:02x?}"
                );
                seen.insert((direction, expected));
            }
        }
    }
    let reasons: BTreeSet<_> = seen.iter().map(|(_, reason)| *reason).collect();
    for reason in said_by_the_guard().filter(|it| **it != Reason::Off) {
        assert!(reasons.contains(reason), "{reason:?} was never generated");
    }
}

#[test]
fn the_model_agrees_on_every_fixture() {
    for fixture in fixtures::all() {
        for (is_checked, expected) in [(true, fixture.checked), (false, fixture.unchecked)] {
            let reason = model::reason(fixture.direction, &fixture.frame, is_checked);
            assert_eq!(reason, expected, "{} {is_checked}", fixture.name);
        }
    }
}

/// Frames that get past the first rules: a fixture with a few bytes changed and its end cut.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((0..80_usize, any::<u8>()), 0..4);
    (prop::sample::select(fixtures::all()), changes, 0..100_usize).prop_map(
        |(fixture, changes, length)| {
            let mut frame = fixture.frame;
            for (offset, byte) in changes {
                if let Some(place) = frame.get_mut(offset) {
                    *place = byte;
                }
            }
            frame.truncate(length);
            frame
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        soup in prop::collection::vec(any::<u8>(), 0..200),
        kind in prop::sample::select(vec![ethertype::IPV4, ethertype::IPV6, ethertype::ARP]),
        is_checked: bool,
    ) {
        let mut soup = soup;
        if let Some(place) = soup.get_mut(12..14) {
            place.copy_from_slice(&kind.to_be_bytes());
        }
        let config = fixtures::config(is_checked);
        for direction in [Direction::Ingress, Direction::Egress] {
            judge(direction, soup.as_slice(), &config);
        }
    }

    #[test]
    fn what_passes_checked_passes_unchecked(frame in mutated()) {
        for direction in [Direction::Ingress, Direction::Egress] {
            let checked = judge(direction, frame.as_slice(), &fixtures::config(true));
            let unchecked = judge(direction, frame.as_slice(), &fixtures::config(false));
            prop_assert!(checked.is_drop() || !unchecked.is_drop(), "{checked:?} {unchecked:?}");
        }
    }

    #[test]
    fn only_own_addresses_arrive(frame in mutated()) {
        let verdict = judge(Direction::Ingress, frame.as_slice(), &fixtures::config(true));
        if verdict.reason == Reason::Passed {
            let is_own = match frame[12..14] {
                [0x08, 0x00] => frame[30..34].try_into().is_ok_and(|address| Own.has4(address)),
                _ => frame[38..54].try_into().is_ok_and(|address| Own.has6(address)),
            };
            prop_assert!(is_own);
            prop_assert!(frame[..6] == fixtures::MAC || frame[0] & 1 == 1);
        }
    }

    #[test]
    fn only_own_addresses_leave(frame in mutated()) {
        let verdict = judge(Direction::Egress, frame.as_slice(), &fixtures::config(true));
        if verdict.reason == Reason::Passed {
            let is_own = match frame[12..14] {
                [0x08, 0x00] => frame[26..30].try_into().is_ok_and(|address| Own.has4(address)),
                _ => frame[22..38].try_into().is_ok_and(|address| Own.has6(address)),
            };
            prop_assert!(is_own);
            prop_assert_eq!(&frame[6..12], &fixtures::MAC);
        }
    }
}
