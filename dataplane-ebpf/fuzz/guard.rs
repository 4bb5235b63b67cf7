//! Frames that libFuzzer finds: the guard says of each what the model says, and neither panics.
#![no_main]

use eniway_abi::Direction;
use eniway_ebpf::{
    fixtures::{self, Own, model},
    guard,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses how the frame is judged.
    let Some((choice, frame)) = data.split_first() else {
        return;
    };
    let is_checked = choice & 1 == 0;
    let config = fixtures::config(is_checked);
    let (direction, verdict) = if choice & 2 == 0 {
        (Direction::Ingress, guard::ingress(frame, &Own, &config))
    } else {
        (Direction::Egress, guard::egress(frame, &Own, &config))
    };
    assert_eq!(verdict.reason, model::reason(direction, frame, is_checked));
});
