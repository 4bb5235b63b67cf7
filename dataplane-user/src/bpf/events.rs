//! Single packets that broke a rule, as the programs tell of them while somebody watches.

use std::{
    fs::File,
    os::fd::{AsRawFd, RawFd},
    time::{Duration, SystemTime},
};

use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use eniway_abi::{EVENTS, Event, SAMPLER, Sampler, WATCHER, Watcher};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    time::{ClockId, clock_gettime},
};
use zerocopy::FromBytes as _;

use super::{Direction, Error, Outcome, Reason, maps::failed, pins::Pins};

/// A packet that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When the program saw it.
    pub time: SystemTime,
    /// Which way it went.
    pub direction: Direction,
    /// The rule that it broke.
    pub reason: Reason,
    /// What became of it.
    pub outcome: Outcome,
    /// Bytes of the whole packet, with its Ethernet header.
    pub length: u32,
    /// How it begins: at most [`eniway_abi::HEAD`] bytes.
    pub head: Vec<u8>,
}

/// What was not told since the watch began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Packets beyond the rate.
    pub suppressed: u64,
    /// Packets for which the ring had no room.
    pub lost: u64,
}

/// Watches one ENI. When it is dropped, the programs tell nothing any more.
pub struct Watch {
    eni: String,
    ring: RingBuf<MapData>,
    watcher: Array<MapData, Watcher>,
    sampler: PerCpuArray<MapData, Sampler>,
    before: Missed,
    /// The wall clock at the boot.
    boot: SystemTime,
    /// Held for as long as this is read.
    _lock: Flock<File>,
}

impl Watch {
    pub(super) fn open(pins: &Pins, eni: &str, per_second: u32) -> Result<Self, Error> {
        let folder = pins.maps(eni);
        // The map itself cannot be locked, its folder can.
        let opened = File::open(&folder).map_err(super::pins::failed("open", &folder))?;
        let lock = Flock::lock(opened, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
            if error == Errno::EWOULDBLOCK {
                Error::Watched {
                    eni: eni.to_owned(),
                }
            } else {
                super::pins::failed("lock", &folder)(error.into())
            }
        })?;
        let map = |name: &'static str| {
            MapData::from_pin(folder.join(name))
                .and_then(Map::from_map_data)
                .map_err(failed(eni, "open", name))
        };
        let mut watch = Self {
            ring: RingBuf::try_from(map(EVENTS)?).map_err(failed(eni, "use", EVENTS))?,
            watcher: Array::try_from(map(WATCHER)?).map_err(failed(eni, "use", WATCHER))?,
            sampler: PerCpuArray::try_from(map(SAMPLER)?).map_err(failed(eni, "use", SAMPLER))?,
            before: Missed::default(),
            boot: boot()?,
            eni: eni.to_owned(),
            _lock: lock,
        };
        // What a watcher that was killed has left unread.
        while watch.ring.next().is_some() {}
        watch.before = watch.untold()?;
        watch.tell(per_second)?;
        Ok(watch)
    }

    /// The next packet that was told, if there is one; the descriptor becomes readable when there is.
    pub fn next_packet(&mut self) -> Option<Packet> {
        loop {
            let item = self.ring.next()?;
            // What cannot be read is of another build, and there is none: the maps bear their layout.
            if let Some(packet) = packet(&item, self.boot) {
                return Some(packet);
            }
        }
    }

    /// What was not told so far.
    pub fn missed(&self) -> Result<Missed, Error> {
        let now = self.untold()?;
        Ok(Missed {
            suppressed: now.suppressed - self.before.suppressed,
            lost: now.lost - self.before.lost,
        })
    }

    fn untold(&self) -> Result<Missed, Error> {
        let cpus = self.sampler.get(&0, 0);
        let cpus = cpus.map_err(failed(&self.eni, "read", SAMPLER))?;
        Ok(cpus.iter().fold(Missed::default(), |sum, cpu| Missed {
            suppressed: sum.suppressed + cpu.suppressed,
            lost: sum.lost + cpu.lost,
        }))
    }

    fn tell(&mut self, per_second: u32) -> Result<(), Error> {
        let watcher = Watcher { per_second };
        let written = self.watcher.set(0, watcher, 0);
        written.map_err(failed(&self.eni, "write", WATCHER))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Then the programs go on telling, at the same rate, until the ring is full.
        let _ = self.tell(0);
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watch").field(&self.eni).finish()
    }
}

fn packet(bytes: &[u8], boot: SystemTime) -> Option<Packet> {
    let event = Event::read_from_bytes(bytes).ok()?;
    Some(Packet {
        time: boot + Duration::from_nanos(event.time),
        direction: *Direction::ALL.get(usize::from(event.direction))?,
        reason: *Reason::ALL.get(usize::from(event.reason))?,
        outcome: *Outcome::ALL.get(usize::from(event.outcome))?,
        length: event.length,
        head: event.head.get(..event.captured.into())?.to_vec(),
    })
}

/// Today's wall clock at the boot; the time asleep is counted by both.
fn boot() -> Result<SystemTime, Error> {
    let since =
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|error| Error::Clock(error.into()))?;
    Ok(SystemTime::now() - Duration::from(since))
}
