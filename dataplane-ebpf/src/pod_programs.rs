//! The programs of pods that share an ENI: from the ENI into a pod, and from a pod out of the ENI.
//!
//! Both spare the packet the node's stack. They run in traffic control and not in XDP: TCP between a pod and the ENI is
//! whole segments here, which the driver or the pod cuts and joins, and an XDP program at one end of a veth would
//! have the other end send frame by frame.

use core::ptr::{null_mut, read_volatile, write_volatile};

use aya_ebpf::{
    bindings::TC_ACT_SHOT,
    helpers::generated::{bpf_redirect_neigh, bpf_redirect_peer},
    programs::TcContext,
};
use eniway_abi::{Direction, Outcome, Pod, Reason};

use crate::{
    frames::Skb,
    guard::{Addresses as _, Verdict},
    maps::{PODS, UPLINK},
    packet::ETHERNET_HOSTS,
    pods::{self, Pods, Way},
    programs::{NEXT, Tries, count},
};

/// Gives what arrives at the ENI, and passed its guard, to the pod that it is for.
#[inline(always)]
pub fn to_pod(context: &TcContext) -> i32 {
    let packet = Skb { context };
    let pod = pods::receiver(&packet, &Map);
    if pod.interface == 0 {
        return NEXT;
    }
    tell(&packet, Direction::ToPod, Reason::Passed, Outcome::Passed);
    give(context, pod)
}

/// Checks what a pod sends, at the node's end of its veth, and sends it on.
#[inline(always)]
pub fn from_pod(context: &TcContext) -> i32 {
    let packet = Skb { context };
    // SAFETY: the context the kernel gave us.
    let interface = unsafe { (*context.skb.skb).ifindex };
    let sent = pods::sent(&packet, interface, &Map, is_own);
    if matches!(sent.way, Way::Drop) {
        tell(&packet, Direction::FromPod, sent.reason, Outcome::Dropped);
        return TC_ACT_SHOT;
    }
    tell(&packet, Direction::FromPod, sent.reason, Outcome::Passed);
    match sent.way {
        Way::Pod => give(context, sent.receiver),
        Way::Out => match UPLINK.get(0) {
            // SAFETY: no parameters: the kernel asks its routing tables, and its neighbours.
            Some(&uplink) => action(unsafe { bpf_redirect_neigh(uplink, null_mut(), 0, 0) }),
            None => NEXT,
        },
        Way::Stack | Way::Drop => NEXT,
    }
}

/// Into the pod's end of its veth, as if it had come by it. Where the frame cannot be written the stack has it.
#[inline(always)]
fn give(context: &TcContext, pod: Pod) -> i32 {
    if !address(context, &pod) {
        return NEXT;
    }
    // SAFETY: only numbers go in.
    action(unsafe { bpf_redirect_peer(pod.interface, 0) })
}

/// What a helper answers that redirects: an action.
#[inline(always)]
const fn action(answer: i64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "actions are small")]
    let action = answer as i32;
    action
}

/// Writes the two MAC addresses.
#[inline(always)]
fn address(context: &TcContext, pod: &Pod) -> bool {
    // SAFETY: the context the kernel gave us.
    let skb = unsafe { &*context.skb.skb };
    // SAFETY: a field of it; volatile, because a helper may have been called since it was last read.
    let end = unsafe { read_volatile(&raw const skb.data_end) };
    // SAFETY: a field of it.
    let data = unsafe { read_volatile(&raw const skb.data) };
    let (data, end) = (data as usize, end as usize);
    if data + ETHERNET_HOSTS > end {
        return false;
    }
    let [a, b, c, d, e, f] = pod.mac;
    let [g, h, i, j, k, l] = pod.node_mac;
    macro_rules! write {
        ($($at:literal $bytes:expr,)*) => { $(
            // SAFETY: in bounds by the test above.
            let place = unsafe { (data as *mut u8).add($at) }.cast::<u32>();
            // SAFETY: as above; any address of a packet may be written.
            unsafe { write_volatile(place, u32::from_ne_bytes($bytes)) };
        )* };
    }
    write!(0 [a, b, c, d], 4 [e, f, g, h], 8 [i, j, k, l],);
    true
}

#[inline(always)]
fn tell(packet: &Skb<'_>, direction: Direction, reason: Reason, outcome: Outcome) {
    count(packet, direction, Verdict { reason, outcome });
}

/// Whether an address is the ENI's own, and no pod's.
#[inline(always)]
fn is_own(address: [u8; 16]) -> bool {
    match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Tries.has4([a, b, c, d]),
        _ => Tries.has6(address),
    }
}

/// The pods in the map.
struct Map;

impl Pods for Map {
    /// A copy, by volatile reads, as in `programs::steer`.
    #[inline(always)]
    fn of(&self, address: [u8; 16]) -> Pod {
        let Some(pod) = PODS.get_ptr(u128::from_ne_bytes(address)) else {
            return Pod::NONE;
        };
        // SAFETY: an entry of the map; two words.
        let first = unsafe { read_volatile(pod.cast::<u64>()) };
        // SAFETY: as above.
        let place = unsafe { pod.cast::<u64>().add(1) };
        // SAFETY: as above.
        let second = unsafe { read_volatile(place) };
        let [a, b, c, d, e, f, g, h] = first.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = second.to_ne_bytes();
        Pod {
            interface: u32::from_ne_bytes([a, b, c, d]),
            mac: [e, f, g, h, i, j],
            node_mac: [k, l, m, n, o, p],
        }
    }
}
