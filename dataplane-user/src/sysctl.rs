//! The door to the settings that the kernel keeps for each interface below /proc/sys/net.
//!
//! A process with CAP_NET_ADMIN in its namespace may write them, whoever owns the files.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// A setting of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sysctl {
    /// Whether the route back is asked for: 0 no, 1 it must be this interface's, 2 any. The larger of the
    /// interface's and of `all` counts (Documentation/networking/ip-sysctl.rst).
    RpFilter,
    /// For which addresses ARP answers: 0 any of the node's, 1 the interface's own.
    ArpIgnore,
    /// Which address ARP asks with: 0 any, 2 the interface's own.
    ArpAnnounce,
    /// Whether routers' announcements are taken: 0 no, 1 unless packets are forwarded, 2 always.
    AcceptRa,
}

impl Sysctl {
    pub const ALL: [Self; 4] = [
        Self::RpFilter,
        Self::ArpIgnore,
        Self::ArpAnnounce,
        Self::AcceptRa,
    ];

    /// The kernel's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RpFilter => "rp_filter",
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
            Self::AcceptRa => "accept_ra",
        }
    }

    const fn family(self) -> &'static str {
        match self {
            Self::RpFilter | Self::ArpIgnore | Self::ArpAnnounce => "ipv4",
            Self::AcceptRa => "ipv6",
        }
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("write {value} to {}", path.display())]
pub struct Error {
    path: PathBuf,
    value: u32,
    source: io::Error,
}

/// The settings, under a root that tests choose.
#[derive(Clone, Debug)]
pub struct Sysctls(PathBuf);

impl Sysctls {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The value for `interface`; `None` where the kernel has no such setting, or the interface has gone.
    #[must_use]
    pub fn get(&self, sysctl: Sysctl, interface: &str) -> Option<u32> {
        let text = fs::read_to_string(self.path(sysctl, interface)).ok()?;
        text.trim().parse().ok()
    }

    pub fn set(&self, sysctl: Sysctl, interface: &str, value: u32) -> Result<(), Error> {
        let path = self.path(sysctl, interface);
        fs::write(&path, format!("{value}\n")).map_err(|source| Error {
            path,
            value,
            source,
        })
    }

    fn path(&self, sysctl: Sysctl, interface: &str) -> PathBuf {
        let folder = Path::new(sysctl.family()).join("conf").join(interface);
        self.0.join(folder).join(sysctl.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_by_its_interface() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("ipv4/conf/eth1.7");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("rp_filter"), "1\n").unwrap();
        let sysctls = Sysctls::new(root.path());
        assert_eq!(sysctls.get(Sysctl::RpFilter, "eth1.7"), Some(1));
        sysctls.set(Sysctl::RpFilter, "eth1.7", 2).unwrap();
        assert_eq!(sysctls.get(Sysctl::RpFilter, "eth1.7"), Some(2));
        assert_eq!(sysctls.get(Sysctl::AcceptRa, "eth1.7"), None);
        let error = sysctls.set(Sysctl::AcceptRa, "eth1.7", 0).unwrap_err();
        assert!(error.to_string().ends_with("ipv6/conf/eth1.7/accept_ra"));
    }
}
