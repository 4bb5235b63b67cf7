//! Measures the ingress check beside a program that only drops and beside xdp-filter, in one run on one
//! machine: only their ratios mean something elsewhere.
//!
//! Where the kernel happens to put a program's code changes its time by a tenth, so each is loaded
//! several times: of one load the fastest run counts, since all noise is slower, and of all loads the
//! one in the middle.

pub mod live;
mod ours;
mod xdp_filter;

use std::{iter, path::Path, time::Duration};

use aya::{
    EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData},
    programs::{TestRun as _, TestRunOptions, Xdp},
};

use self::ours::OURS;
pub use self::ours::REDIRECTED;
use super::{Error, maps::failed, object::Object, pins, tables};

static BASELINE: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/baseline"));

/// Times each program is loaded.
const LOADS: usize = 9;
/// Packets in a measurement.
const REPEAT: u32 = 100_000;

/// The ENI's MAC address.
pub const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
/// Whom most packets are for.
const ADDRESS: [u8; 4] = [10, 0, 1, 10];
/// And for which port.
const PORT: u16 = 6000;

// linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// One program's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// What was run, and on what.
    pub name: &'static str,
    /// For one packet.
    pub duration: Duration,
}

/// All of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bench {
    /// A program that drops and does nothing else.
    pub bare_drop: Measurement,
    /// The ingress check, and what goes with it.
    pub ours: Vec<Measurement>,
    /// A search through 1,000 steering rules.
    pub linear: Measurement,
    /// xdp-filter's programs, that in deny mode by IP first; none where xdp-tools is not installed.
    pub xdp_filter: Vec<Measurement>,
}

impl Measurement {
    /// How many times as long this takes as `other`.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> f64 {
        self.duration.as_secs_f64() / other.duration.as_secs_f64()
    }
}

/// Measures each load `rounds` times, which takes some seconds each. `pins` is a folder in a bpffs, for maps that
/// xdp-filter must pin; it is made and removed.
///
/// This thread's network must forward packets for [`REDIRECTED`] out of `interface`, to a neighbour that has [`MAC`]: so
/// a packet that has been redirected is one for the ENI again.
pub fn bench(pins: &Path, interface: u32, rounds: u32) -> Result<Bench, Error> {
    let scratch = Scratch::new(pins)?;
    let mut entrants = vec![Entrant::new("bare drop", bare_drop)?];
    for one in OURS {
        entrants.push(Entrant::new(one.name, || one.load(interface))?);
    }
    entrants.push(Entrant::new(
        "1,000 rules one after the other, and no check",
        linear,
    )?);
    for filter in xdp_filter::FILTERS {
        if let Some(path) = filter.object() {
            let load = || filter.load(&path, scratch.0);
            entrants.push(Entrant::new(filter.name, load)?);
        }
    }
    // In turns, so that a machine that slows down slows all of them down.
    for _ in 0..rounds {
        for entrant in &mut entrants {
            entrant.run()?;
        }
    }
    let mut measurements = entrants.into_iter().map(Entrant::result);
    Ok(Bench {
        bare_drop: measurements.next().expect("the first entrant"),
        ours: measurements.by_ref().take(OURS.len()).collect(),
        linear: measurements.next().expect("behind ours"),
        xdp_filter: measurements.collect(),
    })
}

/// Runs a loaded program many times on its frame; the time of one.
type Run = Box<dyn FnMut() -> Result<Duration, Error>>;

/// A program, loaded [`LOADS`] times, with the fastest time of each load.
struct Entrant {
    name: &'static str,
    loads: Vec<(Run, Duration)>,
}

impl Entrant {
    fn new(name: &'static str, load: impl Fn() -> Result<Run, Error>) -> Result<Self, Error> {
        let loads = iter::repeat_with(|| Ok((load()?, Duration::MAX)))
            .take(LOADS)
            .collect::<Result<_, Error>>()?;
        Ok(Self { name, loads })
    }

    fn run(&mut self) -> Result<(), Error> {
        for (run, fastest) in &mut self.loads {
            *fastest = run()?.min(*fastest);
        }
        Ok(())
    }

    fn result(self) -> Measurement {
        let mut durations: Vec<Duration> = self.loads.into_iter().map(|(_, time)| time).collect();
        durations.sort_unstable();
        Measurement {
            name: self.name,
            duration: durations[LOADS / 2],
        }
    }
}

fn bare_drop() -> Result<Run, Error> {
    const NAME: &str = "bare_drop";
    let mut object = Object::parse("baseline", BASELINE, &mut EbpfLoader::new())?;
    let frame = frame(ADDRESS);
    Ok(Box::new(move || {
        run(object.xdp(NAME)?, NAME, &frame, XDP_DROP)
    }))
}

/// Looks at 1,000 rules that do not match, by source and port.
fn linear() -> Result<Run, Error> {
    const NAME: &str = "linear_search";
    let mut object = Object::parse("baseline", BASELINE, &mut EbpfLoader::new())?;
    let mut list: Array<&mut MapData, [u32; 3]> = tables::of(&mut object, "LIST")?;
    for number in 0..1000_u32 {
        let port = 8000 + number;
        let source = u32::from_ne_bytes(ours::source(number).octets());
        let rule = [source, u32::MAX, port | port << 16];
        list.set(number, rule, 0)
            .map_err(failed(NAME, "write", "LIST"))?;
    }
    let frame = frame(ADDRESS);
    Ok(Box::new(move || {
        run(object.xdp(NAME)?, NAME, &frame, XDP_PASS)
    }))
}

/// `answer`: what the program must say.
fn run(program: &mut Xdp, name: &str, frame: &[u8], answer: u32) -> Result<Duration, Error> {
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat: REPEAT,
        ..TestRunOptions::new()
    };
    let result = program.test_run(options).map_err(|source| Error::Run {
        program: name.to_owned(),
        source: Box::new(source),
    })?;
    expect(name, answer, result.return_value)?;
    Ok(result.duration)
}

/// A time means something only if the program did what it is measured for.
fn expect(program: &str, expected: u32, answer: u32) -> Result<(), Error> {
    if answer == expected {
        return Ok(());
    }
    Err(Error::Answer {
        program: program.to_owned(),
        expected,
        answer,
    })
}

/// A folder that goes when the measurement is over.
struct Scratch<'a>(&'a Path);

impl<'a> Scratch<'a> {
    fn new(folder: &'a Path) -> Result<Self, Error> {
        pins::create(folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // What stays is found by whoever looks after the folder.
        for filter in xdp_filter::FILTERS {
            let _left_over = pins::remove(&self.0.join(filter.program));
        }
        let _left_over = pins::remove(self.0);
    }
}

/// A UDP packet of 60 bytes.
fn frame(to: [u8; 4]) -> Vec<u8> {
    let mut frame = MAC.to_vec();
    frame.extend([0x0a, 0, 0, 0, 0, 1, 0x08, 0x00]);
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 255, 17, 0, 0, 10, 0, 9, 9]);
    frame.extend(to);
    frame.extend([0x13, 0x88]);
    frame.extend(PORT.to_be_bytes());
    frame.extend([0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}
