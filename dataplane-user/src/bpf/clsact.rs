//! TC programs as filters of a clsact qdisc, for kernels before 6.6.
//!
//! A filter is no link: it cannot be pinned and dies with its interface. That it is ours is told by its
//! priority and handle; where it is, by a pin of its program, named for the interface and written
//! before the filter.

use std::mem;

use aya::programs::{
    ProgramInfo, SchedClassifier,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};

use super::{
    Error,
    error::errno,
    interface,
    pins::{failed, names, unpin},
    slot::{Place, Slot},
};

/// Before other filters, and not at the numbers others take for themselves (Cilium: 1, 1).
const fn priority(place: Place) -> u16 {
    match place {
        Place::First => 7,
        Place::Last => 8,
    }
}

const HANDLE: u16 = 0xe1;

/// Attaches the program, or gives it to the filter that is there.
pub(super) fn attach(
    program: &mut SchedClassifier,
    slot: &Slot,
    ifindex: u32,
) -> Result<(), Error> {
    let failed_to = |attempt, source: Box<dyn std::error::Error + Send + Sync>| Error::Attach {
        attempt,
        program: slot.program,
        ifindex,
        source,
    };
    let name = interface::name(ifindex)?;
    match tc::qdisc_add_clsact(&name) {
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        Err(error) if errno(&error) == Some(libc::EEXIST) => {}
        Err(error) => return Err(failed_to("make the clsact qdisc for", Box::new(error))),
    }
    let pin = slot.folder.join(pin_name(slot, ifindex));
    unpin(&pin)?;
    program
        .pin(&pin)
        .map_err(|error| failed_to("pin", Box::new(error)))?;

    let options = NlOptions {
        priority: priority(slot.place),
        handle: TcHandle::new(0, HANDLE),
        classid: None,
    };
    let attached =
        program.attach_with_options(&name, slot.direction, TcAttachOptions::Netlink(options));
    let id = match attached {
        Err(error) if is_there(&error) => {
            let link = existing(&name, slot).map_err(failed("find", &pin))?;
            program.attach_to_link(link)
        }
        attached => attached,
    }
    .map_err(|error| failed_to("attach", Box::new(error)))?;
    let link = program
        .take_link(id)
        .map_err(|error| failed_to("keep", Box::new(error)))?;
    // Dropped, it would remove the filter.
    mem::forget(link);
    Ok(())
}

/// The interface that the slot's filter is on and the number of its program. What the pin says is not enough: the
/// interface may be gone, its index another's, or somebody took the filter off.
pub(super) fn observe(slot: &Slot) -> Result<Option<(u32, u32)>, Error> {
    let folder = &slot.folder;
    let prefix = pin_name(slot, "");
    for name in names(folder)? {
        let index = name
            .strip_prefix(&prefix)
            .and_then(|index| index.parse().ok());
        let Some(ifindex) = index else {
            continue;
        };
        let there = interface::filter(
            ifindex,
            slot.direction,
            priority(slot.place),
            u32::from(HANDLE),
        )
        .map_err(|source| Error::Interface { ifindex, source })?;
        let info = ProgramInfo::from_pin(folder.join(&name)).map_err(|source| Error::Program {
            program: name,
            source: Box::new(source),
        })?;
        if there == Some(info.id()) {
            return Ok(Some((ifindex, info.id())));
        }
    }
    Ok(None)
}

/// Removes the slot's filters, if there are any, but for the one on `keep`.
pub(super) fn detach(slot: &Slot, keep: Option<u32>) -> Result<(), Error> {
    let folder = &slot.folder;
    let prefix = pin_name(slot, "");
    for pin in names(folder)? {
        let Some(ifindex) = pin
            .strip_prefix(&prefix)
            .and_then(|index| index.parse().ok())
        else {
            continue;
        };
        if Some(ifindex) == keep {
            continue;
        }
        // An interface that is gone took its filters along.
        if let Ok(name) = interface::name(ifindex)
            && let Ok(link) = existing(&name, slot)
        {
            drop(link);
        }
        unpin(&folder.join(pin))?;
    }
    Ok(())
}

fn existing(name: &str, slot: &Slot) -> std::io::Result<SchedClassifierLink> {
    let handle = TcHandle::new(0, HANDLE);
    SchedClassifierLink::attached(name, slot.direction, priority(slot.place), handle, None)
}

fn pin_name(slot: &Slot, ifindex: impl std::fmt::Display) -> String {
    format!("{}-clsact-{ifindex}", slot.name)
}

/// The kernel's EEXIST, which aya does not hand out as a number.
fn is_there(error: &aya::programs::ProgramError) -> bool {
    errno(error) == Some(libc::EEXIST)
}
