//! The door to sysfs: which hardware stands behind a link.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The PCI function behind a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// Domain, bus, device and function: `0000:00:06.0`.
    pub address: String,
    /// The kernel driver that made the link: `ena`.
    pub driver: Option<String>,
}

/// The kernel's view of its devices, under a root that tests choose.
#[derive(Clone, Debug)]
pub struct Sysfs(PathBuf);

impl Sysfs {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The PCI function behind `link`; `None` for a virtual link, and for one that has gone meanwhile.
    ///
    /// The link's parent may stand on a bus of its own that leads to PCI, as virtio does.
    #[must_use]
    pub fn pci_device(&self, link: &str) -> Option<PciDevice> {
        let parent = fs::canonicalize(self.0.join("class/net").join(link).join("device")).ok()?;
        let function = parent
            .ancestors()
            .find(|path| name_behind(&path.join("subsystem")).is_ok_and(|bus| bus == "pci"))?;
        Some(PciDevice {
            address: function.file_name()?.to_str()?.to_owned(),
            driver: name_behind(&parent.join("driver")).ok(),
        })
    }
}

/// The last part of what the symbolic link `path` points to.
fn name_behind(path: &Path) -> io::Result<String> {
    let target = fs::read_link(path)?;
    let name = target.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
