//! The place of one direction's attachment: its pin, and the exchange of what is pinned there.
//!
//! A new attachment that cannot take over the old one's link stands beside it for a moment, pinned as
//! `…-new`, and is then renamed over it. What a crash leaves of that is finished or undone by
//! [`Slot::repair`].

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::programs::{
    TcAttachType,
    links::{FdLink, PinnedLink},
};

use super::{
    Error,
    error::errno,
    link::{self, Link},
    pins::failed,
};

/// Why an attempt failed; the callers give it its name.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The place of one direction's attachment.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) direction: TcAttachType,
    pub(super) place: Place,
    /// The TC program for it.
    pub(super) program: &'static str,
}

/// Where among other programs of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before all: a program before the guard could end the chain, and so go round the check.
    First,
    /// After the guard.
    Last,
}

impl Slot {
    /// What is pinned here.
    pub(super) fn link(&self) -> Result<Option<Link>, Error> {
        observe(&self.pin())
    }

    /// Detaches what is pinned here, as far as an exchange has come.
    pub(super) fn clear(&self) -> Result<(), Error> {
        remove(&self.next())?;
        remove(&self.pin())
    }

    fn pin(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// bpffs has no names with dots.
    fn next(&self) -> PathBuf {
        self.folder.join(format!("{}-new", self.name))
    }

    /// Finishes or undoes an exchange that was cut short.
    pub(super) fn repair(&self) -> Result<(), Error> {
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
    pub(super) fn exchange(
        &self,
        link: FdLink,
        program: &'static str,
        ifindex: u32,
    ) -> Result<(), Error> {
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
    pub(super) fn is_updated(
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
}

fn observe(pin: &Path) -> Result<Option<Link>, Error> {
    link::observe(pin).map_err(failed("open the link at", pin))
}

fn remove(pin: &Path) -> Result<(), Error> {
    link::remove(pin).map_err(failed("detach the link at", pin))
}
