//! Reads packets in the kernel, asks the guard, counts, and answers in the hook's own words.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    maps::lpm_trie::Key,
    programs::{TcContext, XdpContext},
};
use eniway_abi::{
    Config, Direction, Outcome, Reason, counter_index,
    steering::{Action, PORTS_PER_ENTRY, Rules, kind},
};

use crate::{
    events::{self, Head},
    forward,
    frames::{Skb, Xdp},
    guard::{self, Addresses, Verdict},
    maps::{
        ACTIONS, CLASSES, CONFIG, COUNTS, DEST_PORTS, DESTINATION4, DESTINATION6, HITS, LOCAL4,
        LOCAL6, PROTOCOLS, SOURCE_PORTS, SOURCE4, SOURCE6, STEERING,
    },
    packet::Bytes,
    steering::{self, Tables},
};

/// Goes on to whoever comes next at the hook. Both TCX and a direct-action filter take it so;
/// `TC_ACT_OK` would end the chain and keep programs behind ours from seeing the packet.
pub(crate) const NEXT: i32 = TC_ACT_UNSPEC;

/// Judges what arrives, in the driver.
///
/// `FRAGS` says whether the object may be given packets of more than one buffer.
#[inline(always)]
pub fn ingress_xdp<const FRAGS: bool>(context: &XdpContext) -> u32 {
    let packet = Xdp::new::<FRAGS>(context);
    match ingress(&packet) {
        Some((verdict, _)) if verdict.is_drop() => xdp_action::XDP_DROP,
        Some((_, steered)) => forward::forward(context, &packet, steered),
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
fn ingress(packet: &impl Head) -> Option<(Verdict, Steered)> {
    let config: &Config = CONFIG.get(0)?;
    let mut verdict = guard::ingress(packet, &Tries, config);
    let mut steered = Steered::NOWHERE;
    if verdict.reason == Reason::Passed {
        steered = steer(packet);
    }
    if steered.kind() == kind::DROP {
        verdict = Verdict {
            reason: Reason::Steering,
            outcome: Outcome::Dropped,
        };
    }
    count(packet, Direction::Ingress, verdict);
    Some((verdict, steered))
}

/// The rule that a packet matches: its kind, and above that its number; 0: none matches. In one register, for all that is
/// known of a packet is carried along in words of the stack, matched or not.
#[derive(Clone, Copy)]
pub(crate) struct Steered(u64);

impl Steered {
    const NOWHERE: Self = Self(0);

    /// One of [`mod@kind`]; 0: no rule matches.
    #[inline(always)]
    pub(crate) const fn kind(self) -> u32 {
        (self.0 & 0xff) as u32
    }

    /// What the rule says: a copy, as in [`steer`]. `None` cannot happen.
    #[inline(always)]
    pub(crate) fn action(self) -> Option<Action> {
        let rule = (self.0 >> 8 & 0xffff_ffff) as u32;
        let action = ACTIONS.get(rule)?;
        // SAFETY: an entry of the map, which nobody changes while programs use it.
        let value = unsafe { read_volatile(&raw const action.value) };
        // SAFETY: as above.
        let count = unsafe { read_volatile(&raw const action.count) };
        // SAFETY: as above.
        let queues = unsafe { read_volatile(&raw const action.queues) };
        Some(Action {
            kind: self.kind(),
            value,
            count,
            rule,
            queues,
        })
    }
}

/// The first rule that the packet matches.
///
/// Both its parts are from a map, for the number that was found would have the verifier follow every word of the bit vectors to
/// the end. Copies, by volatile reads: of a pointer that may be null where it is used, kernels before 6.16 fear that it is followed in
/// speculation, and refuse the program of those without CAP_PERFMON.
#[inline(always)]
fn steer(packet: &impl Bytes) -> Steered {
    // SAFETY: a constant of this object; volatile, so that LLVM does not take the value that the agent
    // replaces for what it will be.
    let looks = unsafe { read_volatile(&raw const STEERING) };
    if looks == 0 {
        return Steered::NOWHERE;
    }
    let Some(rule) = steering::first_match(packet, &Maps, looks) else {
        return Steered::NOWHERE;
    };
    if let Some(counter) = HITS.get_ptr_mut(rule) {
        // SAFETY: the slot of this CPU, as in `count`.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += packet.length() as u64;
    }
    let Some(action) = ACTIONS.get(rule) else {
        return Steered::NOWHERE;
    };
    // SAFETY: an entry of the map, which nobody changes while programs use it.
    let kind = unsafe { read_volatile(&raw const action.kind) };
    // SAFETY: as above.
    let rule = unsafe { read_volatile(&raw const action.rule) };
    Steered(u64::from(kind) | u64::from(rule) << 8)
}

#[inline(always)]
pub(crate) fn count(packet: &impl Head, direction: Direction, verdict: Verdict) {
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
    #[cfg(feature = "log")]
    crate::log::tell(direction, verdict, packet.length());
}

/// The ENI's addresses in the maps.
pub(crate) struct Tries;

/// The key of one address, which then lies on a whole word: the stack may only be written so.
#[repr(C, align(8))]
pub(crate) struct Whole<A> {
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
