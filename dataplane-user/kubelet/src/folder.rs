//! Tells when the kubelet has started anew: it empties the plugins' folder and makes its socket there.

use std::{io, path::Path};

use futures::{FutureExt as _, StreamExt as _};
use inotify::{EventMask, EventStream, Inotify, WatchMask};

use crate::Error;

/// The kubelet's own socket.
pub(crate) const KUBELET: &str = "kubelet.sock";

/// Bytes for events that come together, of names of up to 255 bytes.
const ROOM: usize = 4096;

/// Watches a folder from the moment it is made.
pub(crate) struct Folder(EventStream<[u8; ROOM]>);

impl Folder {
    pub(crate) fn watch(path: &Path) -> Result<Self, Error> {
        let watch = || {
            let inotify = Inotify::init()?;
            let events = WatchMask::CREATE | WatchMask::DELETE;
            inotify.watches().add(path, events)?;
            inotify.into_event_stream([0; ROOM]).map(Self)
        };
        watch().map_err(|source| Error::Watch {
            path: path.to_owned(),
            source,
        })
    }

    /// Forgets what has happened so far.
    pub(crate) fn forget(&mut self) {
        while let Some(Some(_)) = self.0.next().now_or_never() {}
    }

    /// Waits until the kubelet's socket is made, or `ours` removed.
    pub(crate) async fn changes(&mut self, ours: &str) -> io::Result<()> {
        while let Some(event) = self.0.next().await {
            let event = event?;
            let name = event.name.as_deref();
            let matters = match event.mask.contains(EventMask::CREATE) {
                true => name == Some(KUBELET.as_ref()),
                false => name == Some(ours.as_ref()),
            };
            if matters {
                break;
            }
        }
        Ok(())
    }
}
