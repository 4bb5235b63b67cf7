//! What stands behind a link, as far as it decides where a packet can be checked.

use super::{IfIndex, ethtool, features};
use crate::capabilities;

pub use super::features::XdpFeatures;

/// The driver of a link, what it can do, and the kernel that it runs in. What the kernel does not tell
/// is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    pub driver: Option<Driver>,
    pub channels: Option<Channels>,
    /// Absent before 6.3.
    pub features: Option<XdpFeatures>,
    pub kernel: Release,
    /// The kernel forbids this agent's programs some arithmetic.
    pub is_distrusted: bool,
}

/// A driver, by what it calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    pub name: String,
    /// `2.13.0g` of one that is built apart from the kernel, else the kernel's own release.
    pub version: String,
}

/// Pairs of queues that both receive and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    pub current: u32,
    pub max: u32,
}

/// The first two numbers of a kernel's release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

/// Looks at a link. One that has gone meanwhile shows nothing.
pub(super) fn observe(index: IfIndex, name: &str) -> Device {
    Device {
        driver: ethtool::driver(name).ok(),
        channels: ethtool::channels(name).ok().flatten(),
        features: features::xdp_features(index).ok().flatten(),
        kernel: Release::current(),
        is_distrusted: !capabilities::is_trusted(),
    }
}

impl Release {
    /// That of the running kernel.
    pub(super) fn current() -> Self {
        let name = nix::sys::utsname::uname();
        let release = name.as_ref().ok().and_then(|name| name.release().to_str());
        release.and_then(Self::parse).unwrap_or_default()
    }

    /// Reads `6.1.155-190.amzn2023.x86_64` and the like.
    #[must_use]
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
        Some(Self(
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_its_first_two_numbers() {
        let read = |text| Release::parse(text);
        assert_eq!(read("6.1.155-190.amzn2023"), Some(Release(6, 1)));
        assert_eq!(read("5.10.0-30-cloud-amd64"), Some(Release(5, 10)));
        assert_eq!(read("7.0-rc1"), Some(Release(7, 0)));
        assert_eq!(read("next"), None);
        assert!(Release(5, 9) < Release(5, 18));
    }
}
