//! The door to what this thread may do.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// The kernel trusts programs of those who have one of these: they run without barriers against speculative execution, and
/// may compute with pointers.
const TRUSTED: CapabilitySet = CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN);

/// Whether the kernel trusts the programs that this thread loads. A thread whose capabilities are not told has none.
#[must_use]
pub fn is_trusted() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.intersects(TRUSTED))
}

/// Runs `load` without CAP_PERFMON and CAP_SYS_ADMIN, for those who measure what trust saves.
///
/// # Panics
///
/// When this thread may not change its capabilities, which are its own to give up.
pub fn distrusted<T>(load: impl FnOnce() -> T) -> T {
    let before = capabilities(None).expect("a thread may ask for its own");
    let few = CapabilitySets {
        effective: before.effective - TRUSTED,
        ..before
    };
    set_capabilities(None, few).expect("they become fewer");
    let _restore = Restore(before);
    load()
}

/// Gives back what was given up, also when `load` panics.
struct Restore(CapabilitySets);

impl Drop for Restore {
    fn drop(&mut self) {
        set_capabilities(None, self.0).expect("they were this thread's before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_comes_back() {
        let before = capabilities(None).unwrap();
        let within = distrusted(|| capabilities(None).unwrap());
        assert!(!within.effective.intersects(TRUSTED));
        assert_eq!(within.permitted, before.permitted);
        assert_eq!(capabilities(None).unwrap(), before);
    }
}
