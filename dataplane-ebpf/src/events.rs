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

/// Writes an event if somebody watches and the second has not had its share.
#[inline(always)]
pub(crate) fn tell(packet: &impl Bytes, direction: Direction, verdict: Verdict) {
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
    event.captured = copy_head(packet, &mut event.head);
    entry.submit(0);
}

/// Copies what there is, up to the end of `head`; how many bytes. Of a packet in several buffers XDP shows the
/// first.
///
/// By words, then the last bytes one by one: an offset that is not a constant is pointer arithmetic the
/// verifier wants CAP_PERFMON for.
#[inline(always)]
fn copy_head(packet: &impl Bytes, head: &mut [u8; HEAD]) -> u8 {
    const WORD: usize = 8;
    let mut captured = 0;
    let (words, _) = head.as_chunks_mut::<WORD>();
    for word in words {
        if let Some(bytes) = packet.read::<[u8; WORD]>(captured) {
            *word = bytes;
            captured += WORD;
            continue;
        }
        // No packet ends in its first word. Said aloud, it spares the verifier a byte at offset 0, whose
        // test LLVM writes in a way that proves nothing to it.
        if captured == 0 {
            break;
        }
        for byte in word {
            let Some(last) = packet.read::<u8>(captured) else {
                break;
            };
            *byte = last;
            captured += 1;
        }
        break;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most `HEAD`")]
    let captured = captured as u8;
    captured
}
