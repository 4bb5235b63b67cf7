//! Reads packets in the kernel, asks the guard, counts, and answers in the hook's own words.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len},
    maps::lpm_trie::Key,
    programs::{TcContext, XdpContext},
};
use eniway_abi::{
    Config, Direction, HEAD, Outcome, Reason, counter_index,
    steering::{Action, PORTS_PER_ENTRY, Rules, kind},
};

use crate::{
    events::{self, Head},
    forward,
    guard::{self, Addresses, Verdict},
    maps::{
        ACTIONS, CLASSES, CONFIG, COPY, COUNTS, DEST_PORTS, DESTINATION4, DESTINATION6, HITS,
        LOCAL4, LOCAL6, LONGEST_HEADER, PROTOCOLS, SOURCE_PORTS, SOURCE4, SOURCE6, STEERING,
    },
    packet::{Bytes, Wire},
    steering::{self, Tables},
};

/// Goes on to whoever comes next at the hook. Both TCX and a direct-action filter take it so;
/// `TC_ACT_OK` would end the chain and keep programs behind ours from seeing the packet.
const NEXT: i32 = TC_ACT_UNSPEC;

/// Judges what arrives, in the driver.
///
/// `FRAGS` says whether the object may be given packets of more than one buffer.
#[inline(always)]
pub fn ingress_xdp<const FRAGS: bool>(context: &XdpContext) -> u32 {
    let packet = Xdp::new::<FRAGS>(context);
    match ingress(&packet) {
        Some((verdict, _)) if verdict.is_drop() => xdp_action::XDP_DROP,
        Some((_, action)) => forward::forward(context, &packet, &action),
        None => xdp_action::XDP_ABORTED,
    }
}

/// Judges what is redirected out of the interface, by XDP.
#[inline(always)]
pub fn egress_xdp<const FRAGS: bool>(context: &XdpContext) -> u32 {
    match egress(&Xdp::new::<FRAGS>(context)) {
        Some(verdict) if !verdict.is_drop() => xdp_action::XDP_PASS,
        Some(_) | None => xdp_action::XDP_DROP,
    }
}

/// Judges what arrives, in the stack. Of the steering rules only those work here that pass and drop.
#[inline(always)]
pub fn ingress_tc(context: &TcContext) -> i32 {
    match ingress(&Skb { context }) {
        Some((verdict, _)) if !verdict.is_drop() => NEXT,
        Some(_) | None => TC_ACT_SHOT,
    }
}

/// Judges what leaves.
#[inline(always)]
pub fn egress_tc(context: &TcContext) -> i32 {
    match egress(&Skb { context }) {
        Some(verdict) if !verdict.is_drop() => NEXT,
        Some(_) | None => TC_ACT_SHOT,
    }
}

/// `None` cannot happen: an array of one has its first entry.
#[inline(always)]
fn egress(packet: &impl Head) -> Option<Verdict> {
    let verdict = guard::egress(packet, &Tries, CONFIG.get(0)?);
    count(packet, Direction::Egress, verdict);
    Some(verdict)
}

/// What is addressed to the ENI is steered, and nothing else. `None` as in [`egress`].
#[inline(always)]
fn ingress(packet: &impl Head) -> Option<(Verdict, Action)> {
    let config: &Config = CONFIG.get(0)?;
    let mut verdict = guard::ingress(packet, &Tries, config);
    let mut action = NO_RULE;
    if verdict.reason == Reason::Passed {
        action = steer(packet);
    }
    if action.kind == kind::DROP {
        verdict = Verdict {
            reason: Reason::Steering,
            outcome: Outcome::Dropped,
        };
    }
    count(packet, Direction::Ingress, verdict);
    Some((verdict, action))
}

const NO_RULE: Action = Action {
    kind: 0,
    value: 0,
    count: 0,
    reserved: 0,
    queues: 0,
};

/// What the first rule says that the packet matches, or [`NO_RULE`].
///
/// A copy, made here by volatile reads: of a pointer that may be null where it is used, kernels before 6.16 fear
/// that it is followed in speculation, and refuse the program of those without CAP_PERFMON.
#[inline(always)]
fn steer(packet: &impl Bytes) -> Action {
    // SAFETY: a constant of this object; volatile, so that LLVM does not take the value that the agent
    // replaces for what it will be.
    let looks = unsafe { read_volatile(&raw const STEERING) };
    if looks == 0 {
        return NO_RULE;
    }
    let Some(rule) = steering::first_match(packet, &Maps, looks) else {
        return NO_RULE;
    };
    if let Some(counter) = HITS.get_ptr_mut(rule) {
        // SAFETY: the slot of this CPU, as in `count`.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += packet.length() as u64;
    }
    let Some(action) = ACTIONS.get(rule) else {
        return NO_RULE;
    };
    // SAFETY: an entry of the map, which nobody changes while programs use it.
    let kind = unsafe { read_volatile(&raw const action.kind) };
    // SAFETY: as above.
    let value = unsafe { read_volatile(&raw const action.value) };
    // SAFETY: as above.
    let count = unsafe { read_volatile(&raw const action.count) };
    // SAFETY: as above.
    let queues = unsafe { read_volatile(&raw const action.queues) };
    Action {
        kind,
        value,
        count,
        reserved: 0,
        queues,
    }
}

#[inline(always)]
fn count(packet: &impl Head, direction: Direction, verdict: Verdict) {
    let index = counter_index(direction, verdict.outcome, verdict.reason);
    if let Some(counter) = COUNTS.get_ptr_mut(index) {
        // SAFETY: the slot of this CPU, which no other run of the program on it shares while this one
        // lasts.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += packet.length() as u64;
    }
    if verdict.reason.is_violation() {
        events::tell(packet, direction, verdict);
    }
}

/// The ENI's addresses in the maps.
struct Tries;

/// The key of one address, which then lies on a whole word: the stack may only be written so.
#[repr(C, align(8))]
struct Whole<A> {
    before: u32,
    key: Key<A>,
}

impl<A> Whole<A> {
    #[inline(always)]
    const fn new(address: A) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "16 bytes at most")]
        let bits = size_of::<A>() as u32 * 8;
        Self {
            before: 0,
            key: Key::new(bits, address),
        }
    }
}

impl Addresses for Tries {
    #[inline(always)]
    fn has4(&self, address: [u8; 4]) -> bool {
        let address = u32::from_ne_bytes(address);
        LOCAL4.get(&Whole::new(address).key).is_some()
    }

    #[inline(always)]
    fn has6(&self, address: [u8; 16]) -> bool {
        let address = u128::from_ne_bytes(address);
        LOCAL6.get(&Whole::new(address).key).is_some()
    }
}

/// The steering rules in the maps.
struct Maps;

/// The class of a port, of which each entry holds several.
#[inline(always)]
fn port(entry: Option<&u64>, port: u16) -> u32 {
    match entry {
        Some(entry) => {
            let shift = u32::from(port) % PORTS_PER_ENTRY * 16;
            (*entry >> shift & 0xffff) as u32
        }
        None => 0,
    }
}

impl Tables for Maps {
    #[inline(always)]
    fn source4(&self, address: [u8; 4]) -> u32 {
        let key = Whole::new(u32::from_ne_bytes(address));
        SOURCE4.get(&key.key).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn source6(&self, address: [u8; 16]) -> u32 {
        let key = Whole::new(u128::from_ne_bytes(address));
        SOURCE6.get(&key.key).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn destination4(&self, address: [u8; 4]) -> u32 {
        let key = Whole::new(u32::from_ne_bytes(address));
        DESTINATION4.get(&key.key).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn destination6(&self, address: [u8; 16]) -> u32 {
        let key = Whole::new(u128::from_ne_bytes(address));
        DESTINATION6.get(&key.key).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn protocol(&self, protocol: u8) -> u32 {
        PROTOCOLS.get(u32::from(protocol)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn source_port(&self, number: u16) -> u32 {
        port(
            SOURCE_PORTS.get(u32::from(number) / PORTS_PER_ENTRY),
            number,
        )
    }

    #[inline(always)]
    fn destination_port(&self, number: u16) -> u32 {
        port(DEST_PORTS.get(u32::from(number) / PORTS_PER_ENTRY), number)
    }

    #[inline(always)]
    fn class(&self, class: u32) -> Option<&Rules> {
        CLASSES.get(class)
    }
}

/// A packet in the driver's receive buffer.
struct Xdp {
    data: usize,
    end: usize,
    length: usize,
}

impl Xdp {
    #[inline(always)]
    fn new<const FRAGS: bool>(context: &XdpContext) -> Self {
        let length = if FRAGS {
            // SAFETY: the context the kernel gave us.
            let length = unsafe { bpf_xdp_get_buff_len(context.ctx) };
            #[expect(clippy::cast_possible_truncation, reason = "BPF has 64 bits")]
            let length = length as usize;
            length
        } else {
            // Read apart from the two below, out of LLVM's sight: from `end - data` it would conclude
            // that later reads are in bounds and leave out the tests that the verifier wants to see.
            // SAFETY: the context the kernel gave us.
            let context = unsafe { &*context.ctx };
            // SAFETY: a field of it.
            let end = unsafe { read_volatile(&raw const context.data_end) };
            // SAFETY: a field of it.
            let data = unsafe { read_volatile(&raw const context.data) };
            end as usize - data as usize
        };
        Self {
            data: context.data(),
            end: context.data_end(),
            length,
        }
    }
}

impl Bytes for Xdp {
    #[inline(always)]
    fn length(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        linear(self.data, self.end, offset)
    }
}

impl Head for Xdp {
    /// What lies in the first buffer, without the last byte of an odd number. Word by word and volatile:
    /// `memcpy` would be a function, which computes offsets.
    #[inline(always)]
    fn copy_head(&self, head: *mut u8) -> u8 {
        macro_rules! word {
            ($kind:ty, $at:expr) => {
                match self.read::<[u8; size_of::<$kind>()]>($at) {
                    Some(bytes) => {
                        // SAFETY: `$at` and what follows lie inside `HEAD`.
                        let place = unsafe { head.add($at) }.cast::<$kind>();
                        // SAFETY: as above, and aligned, for all of it is aligned to eight bytes.
                        unsafe { write_volatile(place, <$kind>::from_ne_bytes(bytes)) };
                        true
                    }
                    None => false,
                }
            };
        }
        macro_rules! words {
            ($($at:literal)*) => { $(
                if !word!(u64, $at) {
                    return if !word!(u32, $at) {
                        if word!(u16, $at) { $at + 2 } else { $at }
                    } else if word!(u16, $at + 4) {
                        $at + 6
                    } else {
                        $at + 4
                    };
                }
            )* };
        }
        const { assert!(HEAD == 64) };
        // Every frame has its first word.
        if !word!(u64, 0) {
            return 0;
        }
        words!(8 16 24 32 40 48 56);
        64
    }
}

/// A packet in the stack's hands.
struct Skb<'a> {
    context: &'a TcContext,
}

impl Bytes for Skb<'_> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.context.len() as usize
    }

    /// Headers that lie outside the linear part are copied. `bpf_skb_pull_data` would bring them in,
    /// but makes the packet writable first, which copies every TCP segment that leaves.
    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        linear(self.context.data(), self.context.data_end(), offset).or_else(|| self.copy(offset))
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: the context the kernel gave us.
        unsafe { (*self.context.skb.skb).vlan_present != 0 }
    }
}

impl Head for Skb<'_> {
    #[inline(always)]
    fn copy_head(&self, head: *mut u8) -> u8 {
        // From 1 to `HEAD`, in the way that the verifier sees it.
        #[expect(clippy::cast_possible_truncation, reason = "at most `HEAD`")]
        let length = ((self.length().min(HEAD) - 1) as u32 & 63) + 1;
        let skb = self.context.skb.skb.cast();
        // SAFETY: there is room for `length` bytes.
        let error = unsafe { bpf_skb_load_bytes(skb, 0, head.cast(), length) };
        #[expect(clippy::cast_possible_truncation, reason = "at most `HEAD`")]
        let length = length as u8;
        if error == 0 { length } else { 0 }
    }
}

impl Skb<'_> {
    #[inline(always)]
    fn copy<T: Wire>(&self, offset: usize) -> Option<T> {
        const { assert!(size_of::<T>() <= LONGEST_HEADER) };
        let place = COPY.get_ptr_mut(0)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "of headers, both are short"
        )]
        let (offset, length) = (offset as u32, size_of::<T>() as u32);
        let skb = self.context.skb.skb.cast();
        // SAFETY: there is room for `length` bytes, by the assertion.
        let error = unsafe { bpf_skb_load_bytes(skb, offset, place.cast(), length) };
        if error != 0 {
            return None;
        }
        // SAFETY: in bounds, and any bytes are a `T`, at any address.
        Some(unsafe { *place.cast() })
    }
}

#[inline(always)]
fn linear<T: Wire>(data: usize, end: usize, offset: usize) -> Option<T> {
    let start = data + offset;
    if start + size_of::<T>() > end {
        return None;
    }
    // SAFETY: in bounds by the test above; any bytes are a `T`, at any address.
    Some(unsafe { *(start as *const T) })
}
