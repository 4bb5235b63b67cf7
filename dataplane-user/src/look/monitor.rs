//! `eniway-agent monitor`: packets that break a rule, as they come.

use std::{
    io::{Write as _, stdout},
    num::NonZero,
    time::Duration,
};

use futures::future::select_all;
use jiff::tz::TimeZone;
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal,
};

use super::{Error, capture::Capture, guards, line::line};
use crate::{
    bpf::{Bpf, Missed, Packet, Watch},
    config::Monitor,
};

/// Between two looks where nobody has called, for the case that a call was missed.
const TICK: Duration = Duration::from_millis(500);

/// A guard that is watched.
struct Watched {
    interface: String,
    watch: AsyncFd<Watch>,
}

pub(super) async fn run(monitor: &Monitor) -> Result<(), Error> {
    let bpf = Bpf::open(&monitor.which.bpffs)?;
    let mut watched = Vec::new();
    for guard in guards(&bpf, &monitor.which)? {
        let watch = bpf.watch(&guard.attached.eni, monitor.rate.get())?;
        // SAFETY: the descriptor is the map's, which `watch` owns for as long as it lives.
        let watch = unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) };
        watched.push(Watched {
            interface: guard.to_string(),
            watch: watch.map_err(|error| Error::Wait(error.into()))?,
        });
    }
    let capture = monitor.pcap.as_deref().map(Capture::create).transpose();
    let mut told = Told {
        zone: TimeZone::system(),
        capture: capture.map_err(Error::Capture)?,
        count: 0,
        most: monitor.count.map_or(u64::MAX, NonZero::get),
    };
    tell(&format!("watching {} ENIs; end with Ctrl-C", watched.len()));
    let result = tokio::select! {
        result = follow(&mut watched, &mut told) => result,
        _ = signal::ctrl_c() => Ok(()),
    };
    let mut missed = Missed::default();
    for one in &watched {
        let more = one.watch.get_ref().missed()?;
        missed.suppressed += more.suppressed;
        missed.lost += more.lost;
    }
    tell(&format!(
        "{} packets; {} more beyond the rate, {} more lost for want of room",
        told.count, missed.suppressed, missed.lost
    ));
    if let Some(capture) = told.capture {
        capture.finish().map_err(Error::Capture)?;
    }
    result
}

/// Tells every packet, until enough are told.
async fn follow(watched: &mut [Watched], told: &mut Told) -> Result<(), Error> {
    loop {
        for one in &mut *watched {
            while let Some(packet) = one.watch.get_mut().next_packet() {
                told.tell(&one.interface, &packet)?;
                if told.count == told.most {
                    return Ok(());
                }
            }
        }
        if watched.is_empty() {
            std::future::pending::<()>().await;
        }
        let calls = watched.iter().map(|one| Box::pin(one.watch.readable()));
        tokio::select! {
            (called, ..) = select_all(calls) => called.map_err(Error::Wait)?.clear_ready(),
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Where packets go, and how many went there.
struct Told {
    zone: TimeZone,
    capture: Option<Capture>,
    count: u64,
    most: u64,
}

impl Told {
    fn tell(&mut self, interface: &str, packet: &Packet) -> Result<(), Error> {
        let line = line(interface, packet, &self.zone);
        writeln!(stdout(), "{line}").map_err(Error::Output)?;
        if let Some(capture) = &mut self.capture {
            capture.write(interface, packet).map_err(Error::Capture)?;
        }
        self.count += 1;
        Ok(())
    }
}

/// Beside the packets.
#[expect(clippy::print_stderr, reason = "standard output has the packets")]
fn tell(text: &str) {
    eprintln!("{text}");
}
