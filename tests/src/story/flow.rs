//! A steady flow of numbered datagrams, to see whether one is lost.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, sync::Arc};

/// Between two datagrams: a thousand in a second.
const PACE: Duration = Duration::from_millis(1);
/// How long the receiver waits after the last datagram was sent.
const TAIL: Duration = Duration::from_millis(500);

/// A flow that runs until it is stopped.
#[derive(Debug)]
pub(super) struct Flow {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<io::Result<u64>>,
    receiver: JoinHandle<BTreeSet<u64>>,
    done: Arc<AtomicBool>,
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Datagrams sent.
    pub(super) sent: u64,
    /// Datagrams that arrived, each counted once.
    pub(super) received: u64,
}

impl Flow {
    /// Sends from one socket to the other, whose address is `to`.
    pub(super) fn start(from: UdpSocket, socket: UdpSocket, to: SocketAddr) -> io::Result<Self> {
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicBool::new(false));
        let (sending, receiving) = (Arc::clone(&stop), Arc::clone(&done));
        let sender = thread::spawn(move || {
            let mut number: u64 = 0;
            while !sending.load(Ordering::Relaxed) {
                from.send_to(&number.to_be_bytes(), to)?;
                number += 1;
                thread::sleep(PACE);
            }
            Ok(number)
        });
        let receiver = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            let mut datagram = [0; 8];
            loop {
                match socket.recv(&mut datagram) {
                    Ok(8) => {
                        seen.insert(u64::from_be_bytes(datagram));
                    }
                    Ok(_) | Err(_) if receiving.load(Ordering::Relaxed) => return seen,
                    Ok(_) | Err(_) => {}
                }
            }
        });
        Ok(Self {
            stop,
            sender,
            receiver,
            done,
        })
    }

    /// Ends the flow and counts.
    pub(super) fn stop(self) -> io::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self
            .sender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        thread::sleep(TAIL);
        self.done.store(true, Ordering::Relaxed);
        let seen = self
            .receiver
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Tally {
            sent: sent?,
            received: u64::try_from(seen.len()).unwrap_or(u64::MAX),
        })
    }
}
