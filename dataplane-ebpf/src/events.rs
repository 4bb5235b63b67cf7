//! Tells a watcher of single packets that broke a rule, at a bounded rate; without one it reads a word.

use core::ptr::{addr_of_mut, write_volatile};

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use eniway_abi::{Direction, Event, HEAD};

use crate::{
    guard::Verdict,
    maps::{EVENTS, SAMPLER, WATCHER},
    packet::Bytes,
};

/// A packet whose beginning can be copied. The verifier takes no computed offset from those without
/// CAP_PERFMON, so each hook has its own way.
pub(crate) trait Head: Bytes {
    /// Copies as much as there is to `head`, [`HEAD`] bytes of zeroes; how many bytes.
    fn copy_head(&self, head: *mut u8) -> u8;
}

/// About a second, in nanoseconds.
const SECOND: u64 = 1 << 30;

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
    let event: *mut Event = entry.as_mut_ptr();
    // By words: `memset` would be a function, which computes offsets.
    for word in 0..size_of::<Event>() / 8 {
        // SAFETY: inside the entry, which is aligned to eight bytes.
        let place = unsafe { event.cast::<u64>().add(word) };
        // SAFETY: as above.
        unsafe { write_volatile(place, 0) };
    }
    // SAFETY: every byte is written by now, and any bytes are an event.
    let told = unsafe { &mut *event };
    told.time = now;
    told.length = u32::try_from(packet.length()).unwrap_or(u32::MAX);
    told.direction = direction as u8;
    told.outcome = verdict.outcome as u8;
    told.reason = verdict.reason as u8;
    // SAFETY: a field of the entry.
    told.captured = packet.copy_head(unsafe { addr_of_mut!((*event).head) }.cast());
    entry.submit(0);
}

const _: () = assert!(HEAD == 64 && size_of::<Event>().is_multiple_of(8));
