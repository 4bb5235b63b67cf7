//! Tells a watcher of single packets that broke a rule, at a bounded rate; without one it reads a word.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use eniway_abi::{Direction, Event, HEAD};

use crate::{
    guard::Verdict,
    maps::{EVENTS, SAMPLER, WATCHER},
    packet::Bytes,
};

/// About a second, in nanoseconds.
const SECOND: u64 = 1 << 30;

/// A packet whose beginning can be copied.
pub(crate) trait Head: Bytes {
    /// Copies what there is, up to the end of `head`, which is zero; how many bytes.
    fn copy_head(&self, head: &mut [u8; HEAD]) -> u8;
}

/// Writes an event if somebody watches and the second has not had its share.
#[inline(always)]
pub(crate) fn tell(packet: &impl Head, direction: Direction, verdict: Verdict) {
    let Some(watcher) = WATCHER.get(0) else {
        return;
    };
    if watcher.per_second == 0 {
        return;
    }
    let Some(sampler) = SAMPLER.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the slot of this CPU, as in `programs::run`.
    let sampler = unsafe { &mut *sampler };
    // SAFETY: it only reads a clock.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if now.wrapping_sub(sampler.began) >= SECOND {
        sampler.began = now;
        sampler.told = 0;
    }
    if sampler.told >= u64::from(watcher.per_second) {
        sampler.suppressed += 1;
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        sampler.lost += 1;
        return;
    };
    sampler.told += 1;
    let event = entry.write(Event {
        time: now,
        length: u32::try_from(packet.length()).unwrap_or(u32::MAX),
        direction: direction as u8,
        outcome: verdict.outcome as u8,
        reason: verdict.reason as u8,
        captured: 0,
        head: [0; HEAD],
    });
    event.captured = packet.copy_head(&mut event.head);
    entry.submit(0);
}
