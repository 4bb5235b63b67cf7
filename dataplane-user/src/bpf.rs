//! The door to BPF: loads the guard of an ENI, attaches it, sets it and reads its counters.
//!
//! Nothing is remembered here. What is attached stands in bpffs, so a new process finds the guards of
//! the old one running and takes them over without a packet lost:
//!
//! ```text
//! <root>/links/<eni>/ingress, egress                      the attachments; removing one detaches
//! <root>/links/<eni>/pods, pod-<interface>                those of pods that share the ENI
//! <root>/maps/v<LAYOUT>/<eni>/CONFIG, LOCAL4, …           settings, addresses, counters
//! <root>/mtu/<eni>, channels/<eni>, rp_filter/<eni>, …     what it had before ours, as a link's target
//! <root>/name/<eni>                                       the alternative name that we gave it, likewise
//! ```
//!
//! # Guarantees
//!
//! - From the first [`Bpf::attach`] to [`Bpf::detach`] there is no moment without a guard, also while
//!   programs are replaced or move between XDP and TC.
//! - A process that dies between any two steps leaves a state that the next `attach` or `detach`
//!   repairs.
//! - Programs of others are reported, never replaced.

mod addresses;
pub mod bench;
mod clsact;
mod error;
mod events;
mod found;
mod hook;
mod interface;
mod kernel;
mod link;
#[cfg(feature = "bpf-log")]
mod log;
mod maps;
mod object;
mod pins;
mod pods;
mod refusal;
mod slot;
mod spare;
pub mod steering;
mod tables;
pub mod trial;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    path::Path,
};

use eniway_abi::{COUNTERS, Counter};
pub use eniway_abi::{Direction, Outcome, Reason};

#[cfg(feature = "bpf-log")]
pub use self::log::Verdicts;
pub use self::{
    error::Error,
    events::{Missed, Packet, Watch},
    found::{Note, Setting},
    hook::IngressMode,
    kernel::{Kernel, cpus},
    object::{Verified, objects, verify},
    pods::PodInterface,
    refusal::Obstacle,
};
use self::{
    hook::Hooks,
    maps::Maps,
    object::{Loader, Object},
    pins::Pins,
    pods::Pods,
    spare::Spare,
};

/// The guards of this node.
#[derive(Debug)]
pub struct Bpf {
    pins: Pins,
    kernel: Kernel,
    /// Made when something is loaded first.
    loader: Option<Loader>,
    spare: Spare,
}

/// What an ENI's guard should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Where packets that arrive are checked.
    pub ingress: WantedIngress,
    /// What they are checked against.
    pub config: GuardConfig,
    /// What becomes of those that arrive and passed the check.
    pub steering: Vec<steering::Rule>,
}

/// Where packets that arrive should be checked. Where XDP is refused, TC takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedIngress {
    /// In the driver if it takes the program as the interface stands.
    XdpAuto,
    /// In the driver; the caller has made MTU and channels fit.
    XdpNative,
    /// In the stack, before everything else in it.
    XdpGeneric,
    /// In the stack's traffic control: no XDP, and so no reset of the device.
    Tc,
}

/// What packets are checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// The ENI's MAC address.
    pub mac: [u8; 6],
    /// What happens to a packet that breaks a rule.
    pub mode: Mode,
    /// Addresses must be the ENI's own.
    pub source_dest_check: bool,
    /// The ENI's addresses and prefixes, the one in most use first.
    pub addresses: Vec<ipnet::IpNet>,
    /// The CIDRs of its subnet.
    pub subnets: Vec<ipnet::IpNet>,
}

/// What happens to a packet that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Dropped and counted.
    Enforce,
    /// Counted.
    Audit,
    /// Not noticed: nothing is read.
    Off,
}

/// What stands in bpffs for one ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The ENI, as it was attached.
    pub eni: String,
    /// Index of the interface; 0 when it is gone and the links are defunct.
    pub ifindex: u32,
    /// The check of what arrives.
    pub ingress: Option<Hook>,
    /// The check of what leaves.
    pub egress: Option<Hook>,
    /// Pods that share the ENI.
    pub pods: Vec<PodInterface>,
}

/// One attached program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where it runs; always [`IngressMode::Tc`] for egress.
    pub mode: IngressMode,
    /// It takes packets of several buffers (XDP only).
    pub frags: bool,
    /// The kernel's number of the program.
    pub program_id: u32,
}

/// How a guard came to be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachReport {
    /// Where packets that arrive are checked.
    pub mode: IngressMode,
    /// The XDP program takes packets of several buffers, so that it needs no small MTU.
    pub frags: bool,
    /// Why it is not what was wanted.
    pub reason: Option<String>,
    /// What stood in its way.
    pub obstacle: Option<Obstacle>,
    /// TC programs are attached by TCX links; otherwise by filters of a clsact qdisc.
    pub tcx: bool,
}

/// One steering rule of a program that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered {
    /// What becomes of its packets.
    pub action: eniway_abi::steering::Action,
    /// Packets of which it was the first that matched, summed over the CPUs.
    pub counter: Counter,
}

/// One counter, summed over the CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which way the packets went.
    pub direction: Direction,
    /// The rule that decided.
    pub reason: Reason,
    /// What became of them.
    pub outcome: Outcome,
    /// Packets.
    pub packets: u64,
    /// Bytes, with Ethernet headers.
    pub bytes: u64,
}

impl Bpf {
    /// Opens the guards under `root`, a folder in a bpffs; makes it if need be.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::with_kernel(root, Kernel::current()?)
    }

    /// As [`Bpf::open`], with other abilities than the running kernel's: fewer, to see what would
    /// happen.
    pub fn with_kernel(root: &Path, kernel: Kernel) -> Result<Self, Error> {
        Ok(Self {
            pins: Pins::open(root)?,
            kernel,
            loader: None,
            spare: Spare::default(),
        })
    }

    /// Gives every ENI that has pins, in the order of names.
    pub fn attached(&self) -> Result<Vec<Attached>, Error> {
        self.pins
            .enis()?
            .into_iter()
            .map(|eni| self.observe(&eni))
            .collect()
    }

    fn observe(&self, eni: &str) -> Result<Attached, Error> {
        let attached = Hooks::new(&self.pins, eni, self.kernel).observe()?;
        let pods = Pods::new(&self.pins, eni, self.kernel).all()?;
        Ok(Attached { pods, ..attached })
    }

    /// Makes the ENI's guard what it should be, whatever is there.
    ///
    /// Maps are made and filled first. An attachment to the same interface gets the new program
    /// between two packets; one to an interface that is gone is made anew.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] if someone else's XDP program is on the interface; the guard of what leaves
    /// is attached nevertheless.
    pub fn attach(&mut self, eni: &str, ifindex: u32, want: &Guard) -> Result<AttachReport, Error> {
        let settings = addresses::settings(&want.config)?;
        self.pins.create(eni)?;
        let frags = self.kernel.frags && want.ingress != WantedIngress::Tc;
        let mut object = match self.spare(eni, want, frags)? {
            Some(object) => object,
            None => Object::load(
                self.loader.get_or_insert_with(Loader::new),
                frags,
                &self.pins,
                eni,
                &steering::compile(&want.steering),
            )?,
        };
        self.devices(&mut object, &want.steering, frags)?;
        Maps::open(&self.pins, eni)?.fill(&settings)?;
        let pods = Pods::new(&self.pins, eni, self.kernel);
        pods.inherit()?;
        let report =
            Hooks::new(&self.pins, eni, self.kernel).attach(&mut object, ifindex, want.ingress)?;
        pods.attach(&mut object, ifindex)?;
        self.pins.remove_other_layouts(eni)?;
        Ok(report)
    }

    /// Loads programs for the next ENI, unless there are some.
    pub fn prepare(&mut self) -> Result<(), Error> {
        self.spare.prepare(self.kernel.frags)
    }

    /// The spare programs on the ENI's maps, if they fit: it has no maps yet, and no rules.
    fn spare(&mut self, eni: &str, want: &Guard, frags: bool) -> Result<Option<Object>, Error> {
        let has_maps = !pins::names(&self.pins.maps(eni))?.is_empty();
        if has_maps || !want.steering.is_empty() || frags != self.kernel.frags {
            return Ok(None);
        }
        let Some(mut object) = self.spare.take() else {
            return Ok(None);
        };
        object.pin(&self.pins, eni)?;
        Ok(Some(object))
    }

    /// Lets the rules redirect to interfaces. What leaves through an ENI that is guarded is checked there, too, by
    /// a program of that guard, which the map keeps.
    fn devices(
        &mut self,
        object: &mut Object,
        rules: &[steering::Rule],
        frags: bool,
    ) -> Result<(), Error> {
        let targets = rules.iter().filter_map(|rule| match rule.action {
            steering::Action::Redirect(interface) => Some(interface),
            _ => None,
        });
        let targets: BTreeSet<u32> = targets.collect();
        if targets.is_empty() {
            return Ok(());
        }
        let guards = self.attached()?;
        for target in targets {
            let guard = guards.iter().find(|guard| guard.ifindex == target);
            let mut check = guard
                .map(|guard| {
                    let none = steering::Tables::default();
                    Object::load(
                        self.loader.get_or_insert_with(Loader::new),
                        frags,
                        &self.pins,
                        &guard.eni,
                        &none,
                    )
                })
                .transpose()?;
            tables::device(object, target, check.as_mut())?;
        }
        Ok(())
    }

    /// Gives a guard that is attached this process's programs and other settings, wherever its interface is: links are
    /// updated from outside, so that nobody need enter a pod's namespace. Rules that redirect cannot be among `want`'s:
    /// interfaces of another namespace mean nothing there.
    pub fn replace(&mut self, eni: &str, want: &Guard) -> Result<(), Error> {
        let settings = addresses::settings(&want.config)?;
        self.pins.create(eni)?;
        let mut object = Object::load(
            self.loader.get_or_insert_with(Loader::new),
            self.kernel.frags,
            &self.pins,
            eni,
            &steering::compile(&want.steering),
        )?;
        Maps::open(&self.pins, eni)?.fill(&settings)?;
        Hooks::new(&self.pins, eni, self.kernel).replace(&mut object)?;
        self.pins.remove_other_layouts(eni)
    }

    /// Changes what packets are checked against, in the maps alone.
    pub fn configure(&mut self, eni: &str, config: &GuardConfig) -> Result<(), Error> {
        let settings = addresses::settings(config)?;
        Maps::open(&self.pins, eni)?.fill(&settings)
    }

    /// Removes the ENI's guard and all that belongs to it. Nothing there is success.
    pub fn detach(&mut self, eni: &str) -> Result<(), Error> {
        Pods::new(&self.pins, eni, self.kernel).detach()?;
        Hooks::new(&self.pins, eni, self.kernel).detach()?;
        self.pins.remove(eni)
    }

    /// Lets a pod share the ENI: what arrives for its addresses goes to it, and what it sends from them goes out.
    ///
    /// # Errors
    ///
    /// [`Error::NotGuarded`] if the ENI has no guard here; [`Error::Taken`] if another pod has one of the addresses.
    pub fn add_pod(&mut self, eni: &str, pod: &PodInterface) -> Result<(), Error> {
        let attached = Hooks::new(&self.pins, eni, self.kernel).observe()?;
        if attached.ifindex == 0 {
            return Err(Error::NotGuarded {
                eni: eni.to_owned(),
            });
        }
        let pods = Pods::new(&self.pins, eni, self.kernel);
        pods.check(pod)?;
        let mut object = Object::load(
            self.loader.get_or_insert_with(Loader::new),
            self.kernel.frags,
            &self.pins,
            eni,
            &steering::Tables::default(),
        )?;
        pods.add(&mut object, attached.ifindex, pod)
    }

    /// Ends it. Nothing there is success.
    pub fn remove_pod(&mut self, eni: &str, interface: u32) -> Result<(), Error> {
        Pods::new(&self.pins, eni, self.kernel).remove(interface)
    }

    /// Gives what each ENI was found with for which the setting was changed.
    pub fn found(&self, setting: Setting) -> Result<BTreeMap<String, u32>, Error> {
        self.pins.found(setting)
    }

    /// Remembers what the ENI was found with, unless it is remembered already. Like the pins it
    /// outlives the process, and like the settings themselves it does not outlive a boot.
    pub fn keep(&mut self, setting: Setting, eni: &str, value: u32) -> Result<(), Error> {
        self.pins.keep(setting, eni, value)
    }

    /// Forgets it. Nothing there is success.
    pub fn forget(&mut self, setting: Setting, eni: &str) -> Result<(), Error> {
        self.pins.forget(setting, eni)
    }

    /// Gives what is written down of each ENI.
    pub fn notes(&self, note: Note) -> Result<BTreeMap<String, String>, Error> {
        self.pins.notes(note)
    }

    /// Writes `text` down, in the place of another. It lives as long as what [`Bpf::keep`] remembers.
    pub fn keep_note(&mut self, note: Note, eni: &str, text: &str) -> Result<(), Error> {
        self.pins.keep_note(note, eni, text)
    }

    /// Forgets it. Nothing there is success.
    pub fn forget_note(&mut self, note: Note, eni: &str) -> Result<(), Error> {
        self.pins.forget_note(note, eni)
    }

    /// Watches an ENI's packets that break a rule, at most `per_second` on each CPU; ends when it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Watched`] if another process watches this ENI.
    pub fn watch(&self, eni: &str, per_second: u32) -> Result<Watch, Error> {
        Watch::open(&self.pins, eni, per_second)
    }

    /// Gives the settings that the ENI's programs go by: mode, MAC address, and whether addresses are checked.
    pub fn settings(&self, eni: &str) -> Result<eniway_abi::Config, Error> {
        Maps::open(&self.pins, eni)?.config()
    }

    /// Gives the addresses and prefixes that are the ENI's own.
    pub fn addresses(&self, eni: &str) -> Result<Vec<ipnet::IpNet>, Error> {
        Maps::open(&self.pins, eni)?.addresses()
    }

    /// Gives the map of the ENI's AF_XDP sockets, by receive queue.
    ///
    /// # Errors
    ///
    /// [`Error::NotGuarded`] if the ENI has none here.
    pub fn sockets(&self, eni: &str) -> Result<OwnedFd, Error> {
        if !self.pins.enis()?.contains(eni) {
            return Err(Error::NotGuarded {
                eni: eni.to_owned(),
            });
        }
        Maps::sockets(&self.pins, eni)
    }

    /// Gives what each steering rule does, and what it has counted since it is in force.
    pub fn steered(&self, eni: &str) -> Result<Vec<Steered>, Error> {
        let attached = Hooks::new(&self.pins, eni, self.kernel).observe()?;
        let Some(hook) = attached.ingress else {
            return Ok(Vec::new());
        };
        let rules = tables::of_program(eni, hook.program_id)?;
        // A program without rules has a map of one entry all the same.
        let rules = rules.into_iter().filter(|(action, _)| action.kind != 0);
        Ok(rules
            .map(|(action, counter)| Steered { action, counter })
            .collect())
    }

    /// Gives the ENI's counters that are not zero.
    pub fn counters(&self, eni: &str) -> Result<Vec<Count>, Error> {
        let counters: Vec<Counter> = Maps::open(&self.pins, eni)?.counters()?;
        debug_assert_eq!(counters.len(), COUNTERS as usize);
        Ok(named(&counters))
    }
}

/// The counters by what they count.
fn named(counters: &[Counter]) -> Vec<Count> {
    let mut counts = Vec::new();
    for direction in Direction::ALL {
        for outcome in Outcome::ALL {
            for &reason in Reason::ALL {
                let index = eniway_abi::counter_index(direction, outcome, reason);
                let Some(&Counter { packets, bytes }) = counters.get(index as usize) else {
                    continue;
                };
                if packets > 0 {
                    counts.push(Count {
                        direction,
                        reason,
                        outcome,
                        packets,
                        bytes,
                    });
                }
            }
        }
    }
    counts
}
