//! A conversation in lines over a UNIX socket, to which QEMU connects.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

/// The time between two looks whether QEMU has come.
const LOOK: Duration = Duration::from_millis(20);

/// Our end of a socket.
#[derive(Debug)]
pub(super) struct Lines(BufReader<UnixStream>);

impl Lines {
    /// Waits for QEMU to connect; `None` when it ended instead.
    pub(super) fn accept(listener: &UnixListener, qemu: &mut Child) -> io::Result<Option<Self>> {
        listener.set_nonblocking(true)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Ok(Some(Self(BufReader::new(stream)))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if qemu.try_wait()?.is_some() {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }

    /// Sends one line.
    pub(super) fn send(&mut self, line: &str) -> io::Result<()> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())
    }

    /// The next line, once it is there; `None` when there will be none, because QEMU has ended.
    pub(super) fn next(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(0) => Ok(None),
            // QEMU was killed while it had something for us or we for it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Ok(_) => Ok(Some(String::from_utf8_lossy(&line).trim().to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// Listens at a path.
pub(super) fn listen(path: &Path) -> Result<UnixListener, super::Error> {
    UnixListener::bind(path).map_err(|source| super::Error::Socket {
        what: format!("listen at {}", path.display()),
        source,
    })
}
