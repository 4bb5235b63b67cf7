//! The attachments of one ENI: makes them, replaces their programs, moves them between XDP and TC.
//!
//! Each direction has one pin. A new attachment that cannot take over the old one's link stands beside
//! it for a moment, pinned as `…-new`, and is then renamed over it. What a
//! crash leaves of that is finished or undone by [`Slot::repair`].

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    loaded_programs,
    tc::TcAttachOptions,
};
use eniway_abi::{EGRESS, INGRESS_TC, INGRESS_XDP};

use super::{
    AttachReport, Attached, Error, Hook, Kernel, WantedIngress, clsact,
    error::{chain, errno},
    interface,
    link::{self, Kind, Link},
    object::Object,
    pins::{Pins, failed},
};

/// Where packets that arrive are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IngressMode {
    /// In the driver.
    XdpNative,
    /// In the stack, before everything else in it.
    XdpGeneric,
    /// In the stack's traffic control.
    Tc,
}

/// The attachments of one ENI.
#[derive(Debug)]
pub(super) struct Hooks {
    eni: String,
    kernel: Kernel,
    ingress: Slot,
    egress: Slot,
}

/// The place of one direction's attachment.
#[derive(Debug)]
struct Slot {
    folder: PathBuf,
    name: &'static str,
    direction: TcAttachType,
    /// The TC program for it.
    program: &'static str,
}

/// Why an attempt failed; the callers give it its name.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What became of an attempt at XDP.
enum Attempt {
    Attached,
    /// The driver will not, for this reason.
    Refused(String),
}

impl Hooks {
    pub(super) fn new(pins: &Pins, eni: &str, kernel: Kernel) -> Self {
        let slot = |name, direction, program| Slot {
            folder: pins.links(eni),
            name,
            direction,
            program,
        };
        Self {
            eni: eni.to_owned(),
            kernel,
            ingress: slot("ingress", TcAttachType::Ingress, INGRESS_TC),
            egress: slot("egress", TcAttachType::Egress, EGRESS),
        }
    }

    /// What is there.
    pub(super) fn observe(&self) -> Result<Attached, Error> {
        let ingress = self.ingress.observe(self.kernel)?;
        let egress = self.egress.observe(self.kernel)?;
        let ifindexes = [&ingress, &egress];
        Ok(Attached {
            eni: self.eni.clone(),
            ifindex: ifindexes
                .into_iter()
                .flatten()
                .map(|&(ifindex, _)| ifindex)
                .min()
                .unwrap_or(0),
            ingress: ingress.map(|(_, hook)| hook),
            egress: egress.map(|(_, hook)| hook),
        })
    }

    /// Makes both attachments what they should be.
    pub(super) fn attach(
        &self,
        object: &mut Object,
        ifindex: u32,
        wanted: WantedIngress,
    ) -> Result<AttachReport, Error> {
        let Self {
            ingress,
            egress,
            kernel,
            ..
        } = self;
        egress.repair()?;
        egress.attach_tc(object, ifindex, *kernel)?;
        ingress.repair()?;
        let mode = match wanted {
            WantedIngress::XdpAuto | WantedIngress::XdpNative => IngressMode::XdpNative,
            WantedIngress::XdpGeneric => IngressMode::XdpGeneric,
            WantedIngress::Tc => IngressMode::Tc,
        };
        let refusal = match mode {
            IngressMode::XdpNative | IngressMode::XdpGeneric => {
                ingress.attach_xdp(object, ifindex, mode, *kernel)?
            }
            IngressMode::Tc => Attempt::Refused(String::new()),
        };
        let report = |mode, reason| AttachReport {
            mode,
            frags: kernel.frags && mode != IngressMode::Tc,
            reason,
            tcx: kernel.tcx,
        };
        let Attempt::Refused(cause) = refusal else {
            return Ok(report(mode, None));
        };
        ingress.attach_tc(object, ifindex, *kernel)?;
        let what = match mode {
            IngressMode::XdpNative => "native",
            IngressMode::XdpGeneric => "generic",
            IngressMode::Tc => return Ok(report(IngressMode::Tc, None)),
        };
        let reason = format!("{what} XDP refused: {cause}; the check runs on TC ingress");
        Ok(report(IngressMode::Tc, Some(reason)))
    }

    /// Removes both.
    pub(super) fn detach(&self) -> Result<(), Error> {
        for slot in [&self.ingress, &self.egress] {
            remove(&slot.next())?;
            remove(&slot.pin())?;
            clsact::detach(&slot.folder, slot.name, slot.direction, None)?;
        }
        Ok(())
    }
}

impl Slot {
    fn pin(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    /// bpffs has no names with dots.
    fn next(&self) -> PathBuf {
        self.folder.join(format!("{}-new", self.name))
    }

    /// Finishes or undoes an exchange that was cut short.
    fn repair(&self) -> Result<(), Error> {
        let next = self.next();
        if observe(&next)?.is_none() {
            Ok(())
        } else if observe(&self.pin())?.is_some() {
            remove(&next)
        } else {
            fs::rename(&next, self.pin()).map_err(failed("rename", &next))
        }
    }

    /// Puts a new attachment in the place of the old one.
    fn exchange(&self, link: FdLink, program: &'static str, ifindex: u32) -> Result<(), Error> {
        let next = self.next();
        let old = link::open(&self.pin()).map_err(failed("open the link at", &next))?;
        link.pin(&next).map_err(|source| Error::Attach {
            attempt: "pin the link of",
            program,
            ifindex,
            source: Box::new(source),
        })?;
        fs::rename(&next, self.pin()).map_err(failed("rename", &next))?;
        if let Some(old) = old {
            old.detach()
                .map_err(failed("detach the link that was at", &next))?;
        }
        Ok(())
    }

    /// Gives the pinned link the new program, between two packets; `false` if the link's interface is
    /// gone.
    fn is_updated(
        &self,
        ifindex: u32,
        program: &'static str,
        update: impl FnOnce(FdLink) -> Result<(), Cause>,
    ) -> Result<bool, Error> {
        let updated = PinnedLink::from_pin(self.pin())
            .map_err(Cause::from)
            .and_then(|link| update(link.into()));
        match updated {
            Ok(()) => Ok(true),
            Err(cause) if errno(&*cause) == Some(libc::ENOLINK) => Ok(false),
            Err(source) => Err(Error::Attach {
                attempt: "update",
                program,
                ifindex,
                source,
            }),
        }
    }

    /// The interface and the program, if something is attached.
    fn observe(&self, kernel: Kernel) -> Result<Option<(u32, Hook)>, Error> {
        let hook = |mode, program_id| Hook {
            mode,
            frags: kernel.frags && mode != IngressMode::Tc,
            program_id,
        };
        let Some(link) = observe(&self.pin())? else {
            return Ok(clsact::observe(&self.folder, self.name)?
                .map(|(ifindex, program_id)| (ifindex, hook(IngressMode::Tc, program_id))));
        };
        let mode = match link.kind {
            Kind::Xdp => xdp_mode(&link)?,
            Kind::Tcx | Kind::Other => IngressMode::Tc,
        };
        Ok(Some((link.ifindex, hook(mode, link.program_id))))
    }

    /// Attaches the TC program.
    fn attach_tc(&self, object: &mut Object, ifindex: u32, kernel: Kernel) -> Result<(), Error> {
        let program = object.tc(self.program)?;
        if !kernel.tcx {
            clsact::attach(
                program,
                self.program,
                &self.folder,
                self.name,
                self.direction,
                ifindex,
            )?;
            clsact::detach(&self.folder, self.name, self.direction, Some(ifindex))?;
            return remove(&self.pin());
        }
        let is_there = observe(&self.pin())?
            .is_some_and(|link| link.kind == Kind::Tcx && link.ifindex == ifindex);
        if !is_there || !self.is_updated(ifindex, self.program, |link| update_tc(program, link))? {
            let name = interface::name(ifindex)?;
            let link = attach_tcx(program, &name, self.direction)
                .map_err(attach_error(self.program, ifindex))?;
            self.exchange(link, self.program, ifindex)?;
        }
        clsact::detach(&self.folder, self.name, self.direction, None)
    }

    /// Attaches the XDP program.
    fn attach_xdp(
        &self,
        object: &mut Object,
        ifindex: u32,
        mode: IngressMode,
        kernel: Kernel,
    ) -> Result<Attempt, Error> {
        let ours =
            observe(&self.pin())?.filter(|link| link.kind == Kind::Xdp && link.ifindex == ifindex);
        let there = interface::xdp(ifindex)?;
        match (ours, there) {
            (None, Some(foreign)) => return Err(foreign_error(ifindex, foreign.program_id)),
            (Some(_), Some(xdp)) if xdp.mode == mode => {
                let program = object.xdp(INGRESS_XDP)?;
                if self.is_updated(ifindex, INGRESS_XDP, |link| update_xdp(program, link))? {
                    return Ok(Attempt::Attached);
                }
            }
            // Native and generic exclude each other, so TC stands in between.
            (Some(_), Some(_)) => self.attach_tc(object, ifindex, kernel)?,
            (_, None) => {}
        }
        // A verifier that refuses the program is a refusal like the driver's: the guard goes elsewhere.
        let program = match object.xdp(INGRESS_XDP) {
            Err(error) => return Ok(Attempt::Refused(chain(&error))),
            Ok(program) => program,
        };
        let flags = match mode {
            IngressMode::XdpGeneric => XdpMode::Skb,
            IngressMode::XdpNative | IngressMode::Tc => XdpMode::Driver,
        };
        match attach_xdp(program, ifindex, flags) {
            Ok(link) => {
                self.exchange(link, INGRESS_XDP, ifindex)?;
                clsact::detach(&self.folder, self.name, self.direction, None)?;
                Ok(Attempt::Attached)
            }
            Err(error) => match interface::xdp(ifindex)? {
                Some(xdp) => Err(foreign_error(ifindex, xdp.program_id)),
                None => Ok(Attempt::Refused(chain(&*error))),
            },
        }
    }
}

/// Tells how an XDP link is attached. A defunct one is not, and may be called native.
fn xdp_mode(link: &Link) -> Result<IngressMode, Error> {
    if link.ifindex == 0 {
        return Ok(IngressMode::XdpNative);
    }
    match interface::xdp(link.ifindex) {
        Ok(Some(xdp)) => Ok(xdp.mode),
        // In a pod's namespace, where its number means nothing here.
        Ok(None) | Err(Error::Interface { .. }) => Ok(IngressMode::XdpNative),
        Err(error) => Err(error),
    }
}

fn observe(pin: &Path) -> Result<Option<Link>, Error> {
    link::observe(pin).map_err(failed("open the link at", pin))
}

fn remove(pin: &Path) -> Result<(), Error> {
    link::remove(pin).map_err(failed("detach the link at", pin))
}

fn attach_tcx(
    program: &mut SchedClassifier,
    interface: &str,
    direction: TcAttachType,
) -> Result<FdLink, Cause> {
    // First in the chain: a program before ours could end it, and so go round the check.
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(interface, direction, options)?;
    Ok(program.take_link(id)?.try_into()?)
}

fn attach_xdp(program: &mut Xdp, ifindex: u32, mode: XdpMode) -> Result<FdLink, Cause> {
    let id = program.attach_to_if_index(ifindex, mode)?;
    Ok(program.take_link(id)?.try_into()?)
}

fn update_tc(program: &mut SchedClassifier, link: FdLink) -> Result<(), Cause> {
    let id = program.attach_to_link(link.try_into()?)?;
    // The pin keeps the link.
    drop(program.take_link(id)?);
    Ok(())
}

fn update_xdp(program: &mut Xdp, link: FdLink) -> Result<(), Cause> {
    let id = program.attach_to_link(link.try_into()?)?;
    drop(program.take_link(id)?);
    Ok(())
}

fn attach_error(program: &'static str, ifindex: u32) -> impl Fn(Cause) -> Error {
    move |source| Error::Attach {
        attempt: "attach",
        program,
        ifindex,
        source,
    }
}

fn foreign_error(ifindex: u32, program_id: u32) -> Error {
    let name = loaded_programs()
        .flatten()
        .find(|program| program.id() == program_id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_default();
    Error::Foreign {
        ifindex,
        program_id,
        name,
    }
}
