//! What the kernel can do, by its version.

use aya::util::KernelVersion;

use super::Error;

/// Abilities that decide which object is loaded and how it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// XDP programs for packets of several buffers (5.18).
    pub frags: bool,
    /// TC programs on links (6.6); before, they are filters of a clsact qdisc.
    pub tcx: bool,
}

impl Kernel {
    /// Those of the running kernel.
    pub fn current() -> Result<Self, Error> {
        let version = KernelVersion::current().map_err(|error| Error::Kernel(error.to_string()))?;
        Ok(Self {
            frags: version >= KernelVersion::new(5, 18, 0),
            tcx: version >= KernelVersion::new(6, 6, 0),
        })
    }
}

/// CPUs that the machine may have, also those that are off.
#[must_use]
pub fn cpus() -> u32 {
    let cpus = aya::util::nr_cpus().unwrap_or(1);
    u32::try_from(cpus).unwrap_or(u32::MAX)
}
