//! Decides where arriving packets can be checked, before anything is tried, and what must change first.
//!
//! ENA decides most of it: what its driver takes depends on its version, on the kernel, on the MTU and on
//! the channels, and what it refuses it refuses with the same error number (amzn-drivers,
//! `kernel/linux/ena/RELEASENOTES.md` and `ena_xdp.c`; torvalds/linux, `ena_xdp.h`).

use std::fmt;

use eniway_api::{ChannelPolicy, MtuPolicy};

use crate::{
    bpf::{Obstacle, WantedIngress},
    netlink::{Channels, Device, Release, XdpFeatures},
};

/// The largest MTU of a packet in one buffer: a page, less the Ethernet header with checksum and tag, the
/// headroom and what the stack needs behind the packet. ENA 2.13.3 and others take a few bytes more.
pub const SINGLE_BUFFER_MTU: u32 = 3498;

/// The first with programs for packets of several buffers. Those for one buffer compute a packet's length, which only trusted agents'
/// may.
const BUFFERS_KERNEL: Release = Release(5, 18);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub ingress: WantedIngress,
    pub mtu: MtuPolicy,
    pub channels: ChannelPolicy,
}

/// Where packets will be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// In the driver.
    Native {
        /// Also packets of several buffers, so that no MTU is too large.
        frags: bool,
    },
    /// By XDP in the stack, as asked for.
    Generic,
    /// By TC: asked for, or else with the reason.
    Tc(Option<String>),
    /// By TC, though XDP in the driver was demanded.
    Refused(Obstacle, String),
}

/// A decision, with the changes that it needs and that the policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    pub path: Path,
    /// The MTU must become this.
    pub lower_mtu: Option<u32>,
    /// The channels must become this many.
    pub reduce_channels: Option<u32>,
}

/// What a driver demands of an interface before it takes an XDP program.
struct Rules {
    /// Why it takes none at all.
    never: Option<&'static str>,
    /// It takes packets of several buffers.
    frags: bool,
    /// Every channel wants another one for XDP.
    halves: bool,
}

/// What the version of an ENA driver tells.
enum Ena {
    /// The kernel's own, which has no version.
    InTree,
    /// Amazon's.
    Amazon((u32, u32, u32)),
}

/// Decides for an interface with this MTU. The channels are those that it would have without us.
#[must_use]
pub fn preflight(
    policy: Policy,
    device: &Device,
    mtu: u32,
    channels: Option<Channels>,
) -> Preflight {
    let unchanged = |path| Preflight {
        path,
        lower_mtu: None,
        reduce_channels: None,
    };
    let demanded = match policy.ingress {
        WantedIngress::Tc => return unchanged(Path::Tc(None)),
        WantedIngress::XdpGeneric => return unchanged(Path::Generic),
        WantedIngress::XdpAuto => false,
        WantedIngress::XdpNative => true,
    };
    let rules = rules(device);
    let refuse = |obstacle, why: String| {
        unchanged(match demanded {
            true => Path::Refused(obstacle, why),
            false => Path::Tc(Some(why)),
        })
    };
    let driver = Named(device);
    if device.is_distrusted && device.kernel < BUFFERS_KERNEL {
        let why = "before Linux 5.18 XDP takes CAP_PERFMON, which this node's agent has not (agent.perfmon in the chart)";
        return refuse(Obstacle::Driver, why.to_owned());
    }
    if let Some(why) = rules.never {
        return refuse(Obstacle::Driver, format!("{driver} {why}"));
    }
    let mut decision = unchanged(Path::Native { frags: rules.frags });
    if mtu > SINGLE_BUFFER_MTU && !rules.frags {
        let allowed = demanded && policy.mtu == MtuPolicy::Lower;
        if !allowed {
            let why = format!(
                "with native XDP {driver} takes an MTU of at most {SINGLE_BUFFER_MTU}, and it is {mtu}"
            );
            return refuse(Obstacle::Mtu, advise(&why, "mtuPolicy: Lower"));
        }
        decision.lower_mtu = Some(SINGLE_BUFFER_MTU);
    }
    if let Some(Channels { current, max }) = channels
        && rules.halves
        && current > max / 2
    {
        let half = max / 2;
        let allowed = demanded && policy.channels == ChannelPolicy::Reduce && half > 0;
        if !allowed {
            let why = format!(
                "with native XDP {driver} takes at most {half} of its {max} channels, and {current} are in use"
            );
            let why = match half {
                0 => why,
                _ => advise(&why, "channelPolicy: Reduce"),
            };
            return refuse(Obstacle::Channels, why);
        }
        decision.reduce_channels = Some(half);
    }
    decision
}

fn advise(why: &str, policy: &str) -> String {
    format!("{why}; xdp: Native with {policy} changes that")
}

fn rules(device: &Device) -> Rules {
    let name = device.driver.as_ref().map(|driver| driver.name.as_str());
    let offers = |bits| device.features.is_some_and(|features| features.has(bits));
    let kernel_has_frags = device.kernel >= BUFFERS_KERNEL;
    match name {
        Some("ena") => {
            let ena = Ena::of(device);
            Rules {
                // No features may only mean too many channels: the versions tell.
                never: ena
                    .is_before((2, 2, 0))
                    .then_some("has no XDP: it came with 2.2.0"),
                frags: kernel_has_frags && (ena.is_from((2, 14, 0)) || offers(XdpFeatures::RX_SG)),
                halves: !ena.is_from((2, 17, 0)),
            }
        }
        Some(_) | None => Rules {
            never: (device.features.is_some() && !offers(XdpFeatures::BASIC))
                .then_some("offers no native XDP as the interface stands"),
            // Where the kernel does not tell, the driver will.
            frags: kernel_has_frags && (device.features.is_none() || offers(XdpFeatures::RX_SG)),
            halves: false,
        },
    }
}

impl Ena {
    fn of(device: &Device) -> Self {
        let version = device.driver.as_ref().map(|driver| driver.version.as_str());
        let numbers = version.and_then(|version| version.strip_suffix('g'));
        let numbers = numbers.and_then(|numbers| {
            let mut numbers = numbers.splitn(3, '.').map(str::parse);
            let mut next = || numbers.next()?.ok();
            Some((next()?, next()?, next()?))
        });
        numbers.map_or(Self::InTree, Self::Amazon)
    }

    fn is_from(&self, first: (u32, u32, u32)) -> bool {
        matches!(self, Self::Amazon(version) if *version >= first)
    }

    fn is_before(&self, first: (u32, u32, u32)) -> bool {
        matches!(self, Self::Amazon(version) if *version < first)
    }
}

impl Preflight {
    /// What is to be attached. The caller has seen to the changes.
    #[must_use]
    pub fn ingress(&self, asked: WantedIngress) -> WantedIngress {
        match self.path {
            Path::Native { .. } => asked,
            Path::Generic => WantedIngress::XdpGeneric,
            Path::Tc(_) | Path::Refused(..) => WantedIngress::Tc,
        }
    }

    /// Why packets are not checked where it was asked for.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match &self.path {
            Path::Native { .. } | Path::Generic | Path::Tc(None) => None,
            Path::Tc(Some(why)) | Path::Refused(_, why) => {
                Some(format!("{why}; the check runs on TC ingress"))
            }
        }
    }
}

/// A driver in a sentence.
struct Named<'a>(&'a Device);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.driver {
            Some(driver) => write!(f, "{} {}", driver.name, driver.version),
            None => f.write_str("the driver"),
        }
    }
}

#[cfg(test)]
mod tests;
