//! Packets where the hooks find them: in the driver's buffer, and in the stack's hands.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len},
    programs::{TcContext, XdpContext},
};
use eniway_abi::HEAD;

use crate::{
    events::Head,
    maps::{COPY, LONGEST_HEADER},
    packet::{Bytes, Wire},
};

/// A packet in the driver's receive buffer.
pub(crate) struct Xdp {
    data: usize,
    end: usize,
    length: usize,
}

impl Xdp {
    #[inline(always)]
    pub(crate) fn new<const FRAGS: bool>(context: &XdpContext) -> Self {
        let length = if FRAGS {
            // A call for each packet, also for those in one buffer, of which `end - data` would tell: nobody may subtract
            // pointers without CAP_PERFMON, and counters need the length of all.
            // SAFETY: the context the kernel gave us.
            let length = unsafe { bpf_xdp_get_buff_len(context.ctx) };
            #[expect(clippy::cast_possible_truncation, reason = "BPF has 64 bits")]
            let length = length as usize;
            length
        } else {
            // Before kernel 5.18 there is nobody to ask, so these programs need CAP_PERFMON.
            //
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
pub(crate) struct Skb<'a> {
    pub(crate) context: &'a TcContext,
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
