//! What the bench measures against and with: a program that drops and nothing else, one that looks for the first
//! steering rule by going through them all, a source of frames, and a sink.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the macros fix the signatures"
)]
mod bpf {
    use aya_ebpf::{
        bindings::{TC_ACT_SHOT, xdp_action},
        helpers::bpf_redirect,
        macros::{classifier, map, xdp},
        maps::{Array, PerCpuArray},
        programs::{TcContext, XdpContext},
    };

    /// A rule for UDP: source, its mask, and the first and the last port that it is for.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Rule {
        source: u32,
        mask: u32,
        first: u16,
        last: u16,
    }

    const RULES: u32 = 1000;

    #[map]
    static LIST: Array<Rule> = Array::with_max_entries(RULES, 0);

    /// The interface out of which frames go.
    #[map]
    static TARGET: Array<u32> = Array::with_max_entries(1, 0);

    /// Packets that came to the sink.
    #[map]
    static SUNK: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

    /// How each frame begins: whoever had the page before has written into it.
    #[map]
    static HEAD: Array<[u64; 4]> = Array::with_max_entries(1, 0);

    /// Sends what it is run on.
    #[xdp]
    fn source(context: XdpContext) -> u32 {
        let (data, end) = (context.data(), context.data_end());
        if data + 32 > end {
            return xdp_action::XDP_DROP;
        }
        if let Some(head) = HEAD.get(0) {
            for (at, word) in head.iter().enumerate() {
                // SAFETY: in bounds by the test above.
                let place = unsafe { (data as *mut u64).add(at) };
                // SAFETY: as above; any address of a packet may be written.
                unsafe { place.write_unaligned(*word) };
            }
        }
        let Some(&target) = TARGET.get(0) else {
            return xdp_action::XDP_DROP;
        };
        // SAFETY: only numbers go in.
        let answer = unsafe { bpf_redirect(target, 0) };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "actions are small"
        )]
        let action = answer as u32;
        action
    }

    /// Counts what arrives, and ends it.
    #[classifier]
    fn sink(_: TcContext) -> i32 {
        if let Some(count) = SUNK.get_ptr_mut(0) {
            // SAFETY: the slot of this CPU.
            unsafe { *count += 1 };
        }
        TC_ACT_SHOT
    }

    #[xdp]
    fn bare_drop(_: XdpContext) -> u32 {
        xdp_action::XDP_DROP
    }

    #[xdp]
    fn linear_search(context: XdpContext) -> u32 {
        let (data, end) = (context.data(), context.data_end());
        if data + 42 > end {
            return xdp_action::XDP_PASS;
        }
        // SAFETY: in bounds by the test above.
        let source = unsafe { ((data + 26) as *const u32).read_unaligned() };
        // SAFETY: as above.
        let port = u16::from_be(unsafe { ((data + 36) as *const u16).read_unaligned() });
        for number in 0..RULES {
            let Some(rule) = LIST.get(number) else {
                break;
            };
            if source & rule.mask == rule.source && (rule.first..=rule.last).contains(&port) {
                return xdp_action::XDP_DROP;
            }
        }
        xdp_action::XDP_PASS
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
