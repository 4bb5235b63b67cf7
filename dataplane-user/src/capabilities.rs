//! The door to what this thread may do.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Of those who have none of these the kernel wants barriers against speculative execution in their programs, and forbids
/// them some arithmetic.
const TRUSTED: CapabilitySet = CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN);

/// Whether the programs that this thread loads run without barriers. A thread whose capabilities are not told has none.
#[must_use]
pub fn loads_fast_programs() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.intersects(TRUSTED))
}

/// Runs `load` without CAP_PERFMON, for those who measure what that costs.
///
/// # Panics
///
/// When this thread may not change its capabilities, which are its own to give up.
pub fn without_perfmon<T>(load: impl FnOnce() -> T) -> T {
    let all = capabilities(None).expect("a thread may ask for its own");
    let few = CapabilitySets {
        effective: all.effective - TRUSTED,
        ..all
    };
    set_capabilities(None, few).expect("they become fewer");
    let loaded = load();
    set_capabilities(None, all).expect("they were this thread's before");
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_comes_back() {
        let before = loads_fast_programs();
        assert!(!without_perfmon(loads_fast_programs));
        assert_eq!(loads_fast_programs(), before);
    }
}
