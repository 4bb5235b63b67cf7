//! Carries out the steering rule of a packet in XDP: sends the packet where the rule says.

use core::{
    mem::MaybeUninit,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_PROHIBIT, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup, xdp_action,
    },
    helpers::generated::bpf_fib_lookup as fib_lookup,
    programs::XdpContext,
};
use eniway_abi::steering::kind;

use crate::{
    maps::{CPU_CHOICES, CPUS, DEVICES, SOCKETS},
    packet::{self, Bytes, ETHERNET_HOSTS, Ipv4, Ipv6, NETWORK, ethertype},
    programs::Steered,
};

// linux/socket.h.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// What XDP answers for the packet of a rule.
#[inline(always)]
pub(crate) fn forward(context: &XdpContext, packet: &impl Bytes, steered: Steered) -> u32 {
    let kind = steered.kind();
    if kind == 0 || kind == kind::PASS {
        return xdp_action::XDP_PASS;
    }
    let Some(action) = steered.action() else {
        return xdp_action::XDP_PASS;
    };
    match kind {
        kind::DROP => xdp_action::XDP_DROP,
        kind::REDIRECT => redirect(context, packet, action.value),
        kind::CPU => to_cpu(packet, action.value, action.count),
        kind::SOCKET => to_socket(context, action.queues),
        _ => xdp_action::XDP_PASS,
    }
}

/// To the socket that is bound to the packet's queue. Where none is, or none lives, the stack has it.
#[inline(always)]
fn to_socket(context: &XdpContext, queues: u64) -> u32 {
    // SAFETY: the context the kernel gave us.
    let context = unsafe { &*context.ctx };
    let queue = context.rx_queue_index;
    if queue >= 64 || queues >> queue & 1 == 0 {
        return xdp_action::XDP_PASS;
    }
    match SOCKETS.redirect(queue, u64::from(xdp_action::XDP_PASS)) {
        Ok(action) | Err(action) => action,
    }
}

/// To one of the rule's CPUs, the same for all packets between two addresses. They are `count`, from `first` on.
#[inline(always)]
fn to_cpu(packet: &impl Bytes, first: u32, count: u32) -> u32 {
    if count == 0 {
        return xdp_action::XDP_PASS;
    }
    let chosen = first + hash(packet) % count;
    let Some(&cpu) = CPU_CHOICES.get(chosen) else {
        return xdp_action::XDP_PASS;
    };
    match CPUS.redirect(cpu, u64::from(xdp_action::XDP_PASS)) {
        Ok(action) | Err(action) => action,
    }
}

/// Of the two addresses, without ports, which a fragment does not have.
#[inline(always)]
fn hash(packet: &impl Bytes) -> u32 {
    // Knuth's multiplicative hash: 2^32 divided by the golden ratio.
    const GOLDEN: u32 = 0x9e37_79b1;
    let mut sum = 0_u32;
    if let Some(header) = packet::ipv4(packet) {
        sum = u32::from_be_bytes(header.source) ^ u32::from_be_bytes(header.destination);
    } else if let Some(header) = packet::ipv6(packet) {
        let ([a, b], [c, d]) = (halves(header.source), halves(header.destination));
        let both = a ^ b ^ c ^ d;
        sum = (both >> 32) as u32 ^ (both & 0xffff_ffff) as u32;
    }
    sum.wrapping_mul(GOLDEN) >> 8
}

/// Out of the interface of this index, if the routing table leads there and the next hop is known. What
/// the routing table forbids ends here; all else, also a packet that is too large or too old, is the
/// stack's, untouched.
#[inline(always)]
fn redirect(context: &XdpContext, packet: &impl Bytes, interface: u32) -> u32 {
    let Some(ethernet) = packet::ethernet(packet) else {
        return xdp_action::XDP_PASS;
    };
    match ethernet.ethertype.get() {
        ethertype::IPV4 => {
            let Some(header) = packet::ipv4(packet) else {
                return xdp_action::XDP_PASS;
            };
            if header.time_to_live <= 1 || header.has_options() {
                return xdp_action::XDP_PASS;
            }
            let mut question = MaybeUninit::uninit();
            let asked = written(&mut question, about4(context, &header));
            match ask(context, asked, interface) {
                xdp_action::XDP_REDIRECT => {}
                other => return other,
            }
            if !rewrite(context, asked) || !age4(context, &header) {
                return xdp_action::XDP_ABORTED;
            }
        }
        ethertype::IPV6 => {
            let Some(header) = packet::ipv6(packet) else {
                return xdp_action::XDP_PASS;
            };
            if header.hop_limit <= 1 {
                return xdp_action::XDP_PASS;
            }
            let mut question = MaybeUninit::uninit();
            let asked = written(&mut question, about6(context, &header));
            match ask(context, asked, interface) {
                xdp_action::XDP_REDIRECT => {}
                other => return other,
            }
            if !rewrite(context, asked) || !age6(context, &header) {
                return xdp_action::XDP_ABORTED;
            }
        }
        _ => return xdp_action::XDP_PASS,
    }
    match DEVICES.redirect(interface, u64::from(xdp_action::XDP_DROP)) {
        Ok(action) | Err(action) => action,
    }
}

/// Bytes of a question.
const QUESTION: i32 = 64;

/// What the routing table is asked, on a whole word: the stack may only be written so.
#[repr(C, align(8))]
struct Question(bpf_fib_lookup);

/// Writes it, whole words at once: `memset` would be a function, which computes offsets, and into a word that was
/// written as a whole nothing smaller may be written later. The verifier allows neither to those without
/// CAP_PERFMON.
#[inline(always)]
fn written(question: &mut MaybeUninit<Question>, words: [u64; 6]) -> &mut bpf_fib_lookup {
    const { assert!(size_of::<Question>() == QUESTION as usize) };
    let place: *mut u64 = question.as_mut_ptr().cast();
    let [a, b, c, d, e, f] = words;
    macro_rules! write {
        ($($at:literal $word:expr,)*) => { $(
            // SAFETY: inside the eight words.
            let word = unsafe { place.add($at) };
            // SAFETY: as above, and aligned.
            unsafe { write_volatile(word, $word) };
        )* };
    }
    write!(0 a, 1 b, 2 c, 3 d, 4 e, 5 f, 6 0, 7 0,);
    // SAFETY: every byte is written, and any are numbers.
    let question = unsafe { question.assume_init_mut() };
    &mut question.0
}

/// The first two words: whose packet it is, how long, where it came in, and its class.
#[inline(always)]
fn head(context: &XdpContext, family: u8, protocol: u8, length: u16, class: [u8; 4]) -> [u64; 2] {
    // SAFETY: the context the kernel gave us.
    let ingress = unsafe { (*context.ctx).ingress_ifindex };
    let ([a, b], [c, d, e, f], [g, h, i, j]) = (length.to_ne_bytes(), ingress.to_ne_bytes(), class);
    [
        u64::from_ne_bytes([family, protocol, 0, 0, 0, 0, a, b]),
        u64::from_ne_bytes([c, d, e, f, g, h, i, j]),
    ]
}

#[inline(always)]
fn about4(context: &XdpContext, header: &Ipv4) -> [u64; 6] {
    let class = [header.service(), 0, 0, 0];
    let [a, b] = head(
        context,
        AF_INET,
        header.protocol,
        header.total_length(),
        class,
    );
    let address = |[a, b, c, d]: [u8; 4]| u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]);
    [
        a,
        b,
        address(header.source),
        0,
        address(header.destination),
        0,
    ]
}

#[inline(always)]
fn about6(context: &XdpContext, header: &Ipv6) -> [u64; 6] {
    let class = header.flow().to_ne_bytes();
    let [a, b] = head(
        context,
        AF_INET6,
        header.next_header,
        header.total_length(),
        class,
    );
    let [c, d] = halves(header.source);
    let [e, f] = halves(header.destination);
    [a, b, c, d, e, f]
}

/// An address in two words, as they lie in memory.
#[inline(always)]
const fn halves(address: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
    ]
}

/// XDP_REDIRECT: the answer says how. Anything else is what becomes of the packet.
#[inline(always)]
fn ask(context: &XdpContext, asked: &mut bpf_fib_lookup, interface: u32) -> u32 {
    // SAFETY: both live as long as the call, and the size is theirs.
    let answer = unsafe { fib_lookup(context.ctx.cast(), asked, QUESTION, 0) };
    // An error is negative, and so larger than any answer.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "answers are small, errors large"
    )]
    let answer = answer as u32;
    match answer {
        BPF_FIB_LKUP_RET_SUCCESS if asked.ifindex == interface => {}
        // Blackhole, unreachable, prohibit.
        BPF_FIB_LKUP_RET_BLACKHOLE..=BPF_FIB_LKUP_RET_PROHIBIT => return xdp_action::XDP_DROP,
        _ => return xdp_action::XDP_PASS,
    }
    // The stack has the packet, unchanged, while the interface is not in the map.
    if DEVICES.get_ifindex(interface).is_none() {
        return xdp_action::XDP_PASS;
    }
    xdp_action::XDP_REDIRECT
}

/// Writes the next hop's addresses.
#[inline(always)]
fn rewrite(context: &XdpContext, asked: &bpf_fib_lookup) -> bool {
    let (data, end) = bounds(context);
    if data + ETHERNET_HOSTS > end {
        return false;
    }
    // By halves of a word: a copy of six bytes would be a function, as above.
    macro_rules! copy {
        ($($from:expr => $at:literal,)*) => { $(
            // SAFETY: a part of the answer, as aligned as it is.
            let half = unsafe { read_volatile($from.cast::<u16>()) };
            // SAFETY: in bounds by the test above.
            let place = unsafe { (data as *mut u8).add($at) }.cast();
            // SAFETY: as above; any address of a packet may be written.
            unsafe { write_volatile(place, half) };
        )* };
    }
    let (to, from) = (
        (&raw const asked.dmac).cast::<u8>(),
        (&raw const asked.smac).cast::<u8>(),
    );
    copy! {
        to => 0,
        to.wrapping_add(2) => 2,
        to.wrapping_add(4) => 4,
        from => 6,
        from.wrapping_add(2) => 8,
        from.wrapping_add(4) => 10,
    }
    true
}

/// Takes one from the time to live, and mends the checksum (RFC 1624).
#[inline(always)]
fn age4(context: &XdpContext, header: &Ipv4) -> bool {
    let (data, end) = bounds(context);
    if data + NETWORK + size_of::<Ipv4>() > end {
        return false;
    }
    let (time, checksum) = header.aged();
    let place = (data + NETWORK) as *mut u8;
    // SAFETY: in bounds by the test above.
    let byte = unsafe { place.add(Ipv4::TIME_TO_LIVE) };
    // SAFETY: as above.
    unsafe { *byte = time };
    // SAFETY: as above.
    let place = unsafe { place.add(Ipv4::CHECKSUM) }.cast::<u16>();
    // SAFETY: as above.
    unsafe { write_volatile(place, u16::from_ne_bytes(checksum)) };
    true
}

#[inline(always)]
fn age6(context: &XdpContext, header: &Ipv6) -> bool {
    let (data, end) = bounds(context);
    if data + NETWORK + size_of::<Ipv6>() > end {
        return false;
    }
    let place = (data + NETWORK) as *mut u8;
    // SAFETY: in bounds by the test above.
    let byte = unsafe { place.add(Ipv6::HOP_LIMIT) };
    // SAFETY: as above.
    unsafe { *byte = header.hop_limit - 1 };
    true
}

/// Read anew, out of LLVM's sight: a helper was called since, and the verifier knows nothing of before.
#[inline(always)]
fn bounds(context: &XdpContext) -> (usize, usize) {
    // SAFETY: the context the kernel gave us.
    let context = unsafe { &*context.ctx };
    // SAFETY: a field of it.
    let end = unsafe { read_volatile(&raw const context.data_end) };
    // SAFETY: a field of it.
    let data = unsafe { read_volatile(&raw const context.data) };
    (data as usize, end as usize)
}
