//! The object whose XDP program is the one that takes packets of one buffer.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the macros fix the signatures"
)]
mod bpf {
    use aya_ebpf::{
        macros::{classifier, xdp},
        programs::{TcContext, XdpContext},
    };
    use eniway_ebpf::{pod_programs, programs};

    #[xdp]
    fn eni_ingress(context: XdpContext) -> u32 {
        programs::ingress_xdp::<false>(&context)
    }

    #[xdp(map = "devmap")]
    fn eni_egress_xdp(context: XdpContext) -> u32 {
        programs::egress_xdp::<false>(&context)
    }

    #[classifier]
    fn eni_ingress_tc(context: TcContext) -> i32 {
        programs::ingress_tc(&context)
    }

    #[classifier]
    fn eni_egress(context: TcContext) -> i32 {
        programs::egress_tc(&context)
    }

    #[classifier]
    fn eni_to_pod(context: TcContext) -> i32 {
        pod_programs::to_pod(&context)
    }

    #[classifier]
    fn eni_from_pod(context: TcContext) -> i32 {
        pod_programs::from_pod(&context)
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
