//! Memory that programs with a device need: pages that the node reserves, and how the device's own is mapped.

use super::{Pci, names, number, read};

/// Pages of one size that a NUMA node reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hugepages {
    pub node: u32,
    /// KiB.
    pub size: u32,
    pub total: u32,
}

impl Pci {
    /// Whether the function's low-latency queue is mapped write-combining, as far as it can be seen.
    #[must_use]
    pub fn is_write_combining(&self, address: &str) -> Option<bool> {
        let regions = self
            .sysfs
            .join("bus/pci/devices")
            .join(address)
            .join("resource");
        let mappings = self.sysfs.join("kernel/debug/x86/pat_memtype_list");
        is_write_combining(&read(&regions)?, &read(&mappings)?)
    }

    /// What the machine's NUMA nodes reserve.
    #[must_use]
    pub fn hugepages(&self) -> Vec<Hugepages> {
        let root = self.sysfs.join("devices/system/node");
        let mut found = Vec::new();
        for name in names(&root) {
            let node = name.strip_prefix("node").and_then(|node| node.parse().ok());
            let Some(node) = node else { continue };
            let folder = root.join(&name).join("hugepages");
            found.extend(names(&folder).iter().filter_map(|kind| {
                let size = kind.strip_prefix("hugepages-")?.strip_suffix("kB")?;
                Some(Hugepages {
                    node,
                    size: size.parse().ok()?,
                    total: number(&folder.join(kind).join("nr_hugepages"))?,
                })
            }));
        }
        found
    }
}

/// Whether the low-latency queue, in the function's prefetchable region, is mapped write-combining. `None`: no program has
/// it mapped, or the kernel does not tell. `regions` is the function's `resource`, `mappings` debugfs's
/// `x86/pat_memtype_list`.
#[must_use]
pub fn is_write_combining(regions: &str, mappings: &str) -> Option<bool> {
    /// Of `include/linux/ioport.h`.
    const IORESOURCE_PREFETCH: u64 = 0x2000;
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let region = regions.lines().find_map(|line| {
        let mut words = line.split_whitespace().map(hex);
        let (start, end, flags) = (words.next()??, words.next()??, words.next()??);
        (flags & IORESOURCE_PREFETCH != 0).then_some(start..=end)
    })?;
    // `PAT: [mem 0x00000000fe000000-0x00000000fe100000] write-combining`
    let mapped = mappings.lines().find_map(|line| {
        let (range, kind) = line.split_once("[mem ")?.1.split_once("] ")?;
        let start = hex(range.split_once('-')?.0)?;
        region.contains(&start).then(|| kind.trim())
    })?;
    Some(mapped == "write-combining")
}
