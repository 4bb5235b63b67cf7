//! The attachments of one ENI: makes them, replaces their programs, moves them between XDP and TC.
//!
//! Native and generic XDP exclude each other, and a driver may refuse both: TC is what stands in between
//! and what is fallen back to, so that packets are checked at every moment.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode, links::FdLink, loaded_programs,
    tc::TcAttachOptions,
};
use eniway_abi::{EGRESS, INGRESS_TC, INGRESS_XDP};

use super::{
    AttachReport, Attached, Error, Hook, Kernel, WantedIngress, clsact,
    error::chain,
    interface,
    link::{Kind, Link},
    object::Object,
    pins::Pins,
    refusal::{Obstacle, Refusal},
    slot::{Cause, Place, Slot},
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

/// What became of an attempt at XDP.
enum Attempt {
    Attached,
    /// The driver will not, for this reason.
    Refused(Refusal),
}

impl Hooks {
    pub(super) fn new(pins: &Pins, eni: &str, kernel: Kernel) -> Self {
        let slot = |name: &str, direction, program| Slot {
            folder: pins.links(eni),
            name: String::from(name),
            direction,
            place: Place::First,
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
            pods: Vec::new(),
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
        let report = |mode, reason, obstacle| AttachReport {
            mode,
            frags: kernel.frags && mode != IngressMode::Tc,
            reason,
            obstacle,
            tcx: kernel.tcx,
        };
        let what = match mode {
            IngressMode::XdpNative => "native",
            IngressMode::XdpGeneric => "generic",
            IngressMode::Tc => {
                ingress.attach_tc(object, ifindex, *kernel)?;
                return Ok(report(mode, None, None));
            }
        };
        match ingress.attach_xdp(object, ifindex, mode, *kernel)? {
            Attempt::Attached => Ok(report(mode, None, None)),
            Attempt::Refused(Refusal { obstacle, text }) => {
                ingress.attach_tc(object, ifindex, *kernel)?;
                let reason = format!("{what} XDP refused: {text}; the check runs on TC ingress");
                Ok(report(IngressMode::Tc, Some(reason), Some(obstacle)))
            }
        }
    }

    /// Gives both their new programs, wherever the interface is. Of one that is gone meanwhile the next look tells.
    pub(super) fn replace(&self, object: &mut Object) -> Result<(), Error> {
        for slot in [&self.egress, &self.ingress] {
            slot.repair()?;
            let Some(Link { kind, ifindex, .. }) = slot.link()? else {
                continue;
            };
            let _gone = match kind {
                Kind::Xdp => {
                    let program = object.xdp(INGRESS_XDP)?;
                    slot.is_updated(ifindex, INGRESS_XDP, |link| update_xdp(program, link))?
                }
                Kind::Tcx => {
                    let program = object.tc(slot.program)?;
                    slot.is_updated(ifindex, slot.program, |link| update_tc(program, link))?
                }
                Kind::Other => false,
            };
        }
        Ok(())
    }

    /// Removes both.
    pub(super) fn detach(&self) -> Result<(), Error> {
        for slot in [&self.ingress, &self.egress] {
            slot.detach()?;
        }
        Ok(())
    }
}

impl Slot {
    /// Detaches what is attached, a link or a filter.
    pub(super) fn detach(&self) -> Result<(), Error> {
        self.clear()?;
        clsact::detach(self, None)
    }

    /// The interface and the program, if something is attached.
    fn observe(&self, kernel: Kernel) -> Result<Option<(u32, Hook)>, Error> {
        let hook = |mode, program_id| Hook {
            mode,
            frags: kernel.frags && mode != IngressMode::Tc,
            program_id,
        };
        let Some(link) = self.link()? else {
            return Ok(clsact::observe(self)?
                .map(|(ifindex, program_id)| (ifindex, hook(IngressMode::Tc, program_id))));
        };
        let mode = match link.kind {
            Kind::Xdp => xdp_mode(&link)?,
            Kind::Tcx | Kind::Other => IngressMode::Tc,
        };
        Ok(Some((link.ifindex, hook(mode, link.program_id))))
    }

    /// Attaches the TC program.
    pub(super) fn attach_tc(
        &self,
        object: &mut Object,
        ifindex: u32,
        kernel: Kernel,
    ) -> Result<(), Error> {
        let program = object.tc(self.program)?;
        if !kernel.tcx {
            clsact::attach(program, self, ifindex)?;
            clsact::detach(self, Some(ifindex))?;
            return self.clear();
        }
        let is_there = self
            .link()?
            .is_some_and(|link| link.kind == Kind::Tcx && link.ifindex == ifindex);
        if !is_there || !self.is_updated(ifindex, self.program, |link| update_tc(program, link))? {
            let name = interface::name(ifindex)?;
            let link =
                attach_tcx(program, &name, self).map_err(attach_error(self.program, ifindex))?;
            self.exchange(link, self.program, ifindex)?;
        }
        clsact::detach(self, None)
    }

    /// Attaches the XDP program.
    fn attach_xdp(
        &self,
        object: &mut Object,
        ifindex: u32,
        mode: IngressMode,
        kernel: Kernel,
    ) -> Result<Attempt, Error> {
        let ours = self
            .link()?
            .filter(|link| link.kind == Kind::Xdp && link.ifindex == ifindex);
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
            Err(error) => {
                let (obstacle, text) = (Obstacle::Driver, chain(&error));
                return Ok(Attempt::Refused(Refusal { obstacle, text }));
            }
            Ok(program) => program,
        };
        let flags = match mode {
            IngressMode::XdpGeneric => XdpMode::Skb,
            IngressMode::XdpNative | IngressMode::Tc => XdpMode::Driver,
        };
        match attach_xdp(program, ifindex, flags) {
            Ok(link) => {
                self.exchange(link, INGRESS_XDP, ifindex)?;
                clsact::detach(self, None)?;
                Ok(Attempt::Attached)
            }
            Err(error) => match interface::xdp(ifindex)? {
                Some(xdp) => Err(foreign_error(ifindex, xdp.program_id)),
                None => {
                    let fd = program.fd().map(|fd| fd.as_fd().as_raw_fd());
                    let fd = fd.map_err(|source| Error::Program {
                        program: INGRESS_XDP.to_owned(),
                        source: Box::new(source),
                    })?;
                    let refusal = Refusal::explain(&*error, ifindex, fd, mode);
                    Ok(Attempt::Refused(refusal))
                }
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

fn attach_tcx(
    program: &mut SchedClassifier,
    interface: &str,
    slot: &Slot,
) -> Result<FdLink, Cause> {
    let order = match slot.place {
        Place::First => LinkOrder::first(),
        Place::Last => LinkOrder::last(),
    };
    let options = TcAttachOptions::TcxOrder(order);
    let id = program.attach_with_options(interface, slot.direction, options)?;
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
