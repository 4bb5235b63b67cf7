//! Network cards that are plugged into a running machine, and the far ends of their cables.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Error;

/// More than a jumbo frame.
const LONGEST: usize = 16 * 1024;

/// Whose driver the kernel takes for a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Takes native XDP, and frames of several queues.
    Virtio,
    /// Intel's 82574L: hardware that vfio-pci hands to a program.
    E1000e,
}

impl Model {
    fn device(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-net-pci",
            Self::E1000e => "e1000e",
        }
    }
}

/// A card in a machine. This process holds the other end of its cable.
#[derive(Debug)]
pub struct Card {
    pub(super) id: String,
    mac: String,
    cable: UnixDatagram,
    /// Where QEMU reads.
    far: PathBuf,
}

impl Card {
    /// Makes our end of a cable, in `folder`.
    pub(super) fn new(folder: &Path, id: &str, mac: &str) -> Result<Self, Error> {
        let near = folder.join(id);
        let cable = UnixDatagram::bind(&near).map_err(|source| Error::Socket {
            what: format!("make {}", near.display()),
            source,
        })?;
        Ok(Self {
            far: near.with_extension("qemu"),
            id: id.to_owned(),
            mac: mac.to_owned(),
            cable,
        })
    }

    /// The arguments of `netdev_add`.
    pub(super) fn link(&self) -> Value {
        let end = |path: &Path| json!({"type": "unix", "path": path});
        let near = self.far.with_extension("");
        json!({"id": self.link_id(), "type": "dgram", "local": end(&self.far), "remote": end(&near)})
    }

    /// The arguments of `device_add`, at a root port.
    pub(super) fn device(&self, model: Model, port: &str) -> Value {
        json!({"id": self.id, "driver": model.device(), "bus": port, "netdev": self.link_id(), "mac": self.mac})
    }

    fn link_id(&self) -> String {
        format!("link-{}", self.id)
    }

    /// Its MAC address.
    #[must_use]
    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// Puts a frame on the cable.
    ///
    /// # Errors
    /// QEMU does not listen, or has no room.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.cable.send_to(frame, &self.far).map(drop)
    }

    /// The next frame that the machine has sent; `None` when none came within `patience`.
    ///
    /// # Errors
    /// The cable cannot be read.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        // A socket takes no patience of zero.
        let patience = patience.max(Duration::from_millis(1));
        self.cable.set_read_timeout(Some(patience))?;
        let mut frame = vec![0; LONGEST];
        match self.cable.recv(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first frame that `wanted` takes; `None` when none came within `patience`.
    ///
    /// # Errors
    /// The cable cannot be read.
    pub fn find(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<Option<Vec<u8>>> {
        let start = Instant::now();
        while let Some(left) = patience.checked_sub(start.elapsed()) {
            match self.receive(left)? {
                Some(frame) if wanted(&frame) => return Ok(Some(frame)),
                Some(_) => {}
                None => break,
            }
        }
        Ok(None)
    }
}
