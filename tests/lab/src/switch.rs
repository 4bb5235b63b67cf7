//! The fabric with its cables: a thread for each port that moves frames between sockets.

use std::collections::{BTreeMap, VecDeque};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;
use crate::fabric::{Fabric, Network, PortId, Reason};
use crate::namespace::Namespace;
use crate::packet::PacketSocket;

/// Frames that are remembered of each port.
const REMEMBERED: usize = 4096;

/// The fabric, its ports and what they sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A frame came in.
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    fabric: Fabric,
    ports: BTreeMap<PortId, Port>,
    sent: BTreeMap<PortId, VecDeque<Vec<u8>>>,
}

#[derive(Debug)]
struct Port {
    socket: Arc<PacketSocket>,
    /// Dropping it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Takes over what EC2 says now.
    ///
    /// It is asked while others must wait, or an older answer could replace a newer one.
    pub(crate) fn refresh(&self, network: impl FnOnce() -> Network) {
        let mut state = self.lock();
        state.fabric.set_network(network());
    }

    /// Connects a port to an interface of `namespace`, the far end of an ENI's cable.
    pub(crate) fn plug(
        &self,
        port: &PortId,
        namespace: &Namespace,
        interface: &str,
    ) -> Result<(), Error> {
        let failed = |source| Error::Wire {
            interface: interface.to_owned(),
            source,
        };
        let socket = Arc::new(
            namespace
                .run(|| PacketSocket::open(interface))?
                .map_err(failed)?,
        );
        let (stopped, stop) = std::io::pipe().map_err(failed)?;
        let thread = thread::spawn({
            let (switch, port, socket) = (self.clone(), port.clone(), Arc::clone(&socket));
            move || switch.carry(&port, &socket, &stopped)
        });
        let mut state = self.lock();
        state.fabric.plug(port.clone());
        state.ports.insert(
            port.clone(),
            Port {
                socket,
                stop: Some(stop),
                thread: Some(thread),
            },
        );
        Ok(())
    }

    /// Pulls a cable.
    pub(crate) fn unplug(&self, port: &PortId) {
        let mut state = self.lock();
        state.fabric.unplug(port);
        let pulled = state.ports.remove(port);
        // Its thread may be waiting for the lock that we hold.
        drop(state);
        drop(pulled);
    }

    /// Pulls all cables.
    pub(crate) fn unplug_all(&self) {
        let ports: Vec<PortId> = self.lock().ports.keys().cloned().collect();
        ports.iter().for_each(|port| self.unplug(port));
    }

    pub(crate) fn is_plugged(&self, port: &PortId) -> bool {
        self.lock().ports.contains_key(port)
    }

    /// Puts a frame on an ENI's wire as it is, past every check.
    pub(crate) fn inject(&self, port: &PortId, frame: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::Wire {
            interface: port.to_string(),
            source,
        };
        let socket = self
            .lock()
            .ports
            .get(port)
            .map(|port| Arc::clone(&port.socket));
        let unplugged = || failed(std::io::Error::other("no cable is plugged into it"));
        socket.ok_or_else(unplugged)?.send(frame).map_err(failed)
    }

    /// How many frames an ENI sent, by what became of them.
    pub(crate) fn counters(&self, port: &PortId) -> BTreeMap<Reason, u64> {
        let state = self.lock();
        let ours = state
            .fabric
            .counters()
            .iter()
            .filter(|((from, _), _)| from == port);
        ours.map(|((_, reason), count)| (*reason, *count)).collect()
    }

    /// The last frames of this port, oldest first.
    pub(crate) fn sent(&self, port: &PortId) -> Vec<Vec<u8>> {
        self.lock()
            .sent
            .get(port)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Waits for a frame of this port, also among those already seen.
    pub(crate) fn wait_for(
        &self,
        port: &PortId,
        deadline: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let end = Instant::now() + deadline;
        let mut state = self.lock();
        loop {
            let found = state
                .sent
                .get(port)
                .and_then(|frames| frames.iter().find(|frame| wanted(frame)).cloned());
            let left = end.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return found;
            }
            let waited = self.0.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Moves the frames of one port until it is unplugged.
    fn carry(&self, port: &PortId, socket: &PacketSocket, stopped: &PipeReader) {
        loop {
            let mut waiting = [
                PollFd::new(socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            ];
            if poll(&mut waiting, PollTimeout::NONE).is_err() {
                continue;
            }
            if waiting[1].any().unwrap_or(true) {
                return;
            }
            // An interface that goes down, or away, gives an error once; the next poll waits again.
            let Ok(frame) = socket.receive() else {
                continue;
            };
            for (receiver, frame) in self.decide(port, frame) {
                // A cable that is pulled meanwhile loses the frame.
                let _ = receiver.send(&frame);
            }
        }
    }

    fn decide(&self, port: &PortId, frame: Vec<u8>) -> Vec<(Arc<PacketSocket>, Vec<u8>)> {
        let mut state = self.lock();
        let out = state.fabric.frame(port, &frame);
        let sent = state.sent.entry(port.clone()).or_default();
        if sent.len() == REMEMBERED {
            sent.pop_front();
        }
        sent.push_back(frame);
        self.0.arrived.notify_all();
        out.into_iter()
            .filter_map(|(to, frame)| {
                state
                    .ports
                    .get(&to)
                    .map(|port| (Arc::clone(&port.socket), frame))
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of a predicate of a test leaves the state whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}
