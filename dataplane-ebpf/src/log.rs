//! Tells of every verdict by aya-log, for those who work on the programs. It costs far more than the verdict, so only
//! debug builds of the agent may ask for it.

use aya_log_ebpf::debug;
use eniway_abi::Direction;

use crate::guard::Verdict;

/// A function to the kernel too: the verifier walks through the macro's loops once for each program.
#[inline(never)]
pub(crate) fn tell(direction: Direction, verdict: Verdict, length: usize) {
    debug!(
        (),
        "{} {}: {}, {} bytes",
        direction.label(),
        verdict.outcome.label(),
        verdict.reason.label(),
        length
    );
}
