//! Measures the ingress check beside a program that only drops and beside xdp-filter, in one run on one
//! machine: only their ratios mean something elsewhere.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    EbpfLoader, include_bytes_aligned,
    maps::{PerCpuHashMap, PerCpuValues},
    programs::{TestRun as _, TestRunOptions, Xdp},
    util::nr_cpus,
};

use super::{
    Error, GuardConfig, Mode,
    object::Object,
    pins,
    trial::{Program, Trial},
};

static BASELINE: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/baseline"));

/// Runs of each measurement; the fastest of [`ROUNDS`] counts, since all noise is slower.
const REPEAT: u32 = 200_000;
const ROUNDS: u32 = 25;

/// Name, object with fragments, addresses of the ENI.
const OURS: &[(&str, bool, &[&str])] = &[
    ("eni_ingress, one address", false, &["10.0.1.10/32"]),
    (
        "eni_ingress, primary address of three",
        false,
        &["10.0.1.10/32", "10.0.1.11/32", "10.0.1.64/28"],
    ),
    (
        "eni_ingress, another address of three",
        false,
        &["10.0.1.11/32", "10.0.1.10/32", "10.0.1.64/28"],
    ),
    (
        "eni_ingress with frags, one address",
        true,
        &["10.0.1.10/32"],
    ),
];

/// The object of xdp-filter and the program in it.
const XDP_FILTER: &str = "xdpfilt_dny_ip";

/// Whom the packet is for.
const ADDRESS: [u8; 4] = [10, 0, 1, 10];

/// What xdp-filter compares an address with (xdp-tools, `xdp-filter/common_kern_user.h`).
const SOURCE: u64 = 1;
const DESTINATION: u64 = 2;

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
    /// The ingress check.
    pub ours: Vec<Measurement>,
    /// xdp-filter in deny mode by IP, with the packet's address allowed; `None` where xdp-tools is not
    /// installed.
    pub xdp_filter: Option<Measurement>,
}

impl Measurement {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            duration: Duration::MAX,
        }
    }

    fn note(&mut self, duration: Duration) {
        self.duration = self.duration.min(duration);
    }

    /// How many times as long this takes as `other`.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> f64 {
        self.duration.as_secs_f64() / other.duration.as_secs_f64()
    }
}

/// Measures; takes some seconds. `pins` is a folder in a bpffs, for maps that xdp-filter must pin; it is
/// made and removed.
pub fn bench(pins: &Path) -> Result<Bench, Error> {
    let frame = frame();
    let mut baseline = Object::parse("baseline", BASELINE, &mut EbpfLoader::new())?;
    let mut trials = Vec::new();
    for (name, frags, addresses) in OURS {
        trials.push((*name, Trial::new(*frags, &config(addresses))?));
    }
    let scratch = Scratch::new(pins)?;
    let mut filter = xdp_filter_object()
        .map(|path| xdp_filter(&path, scratch.0))
        .transpose()?;

    let mut bench = Bench {
        bare_drop: Measurement::new("bare drop"),
        ours: trials
            .iter()
            .map(|(name, _)| Measurement::new(name))
            .collect(),
        xdp_filter: filter
            .as_ref()
            .map(|_| Measurement::new("xdp-filter, deny by IP")),
    };
    // In turns, so that a machine that slows down slows all of them down.
    for _ in 0..ROUNDS {
        bench
            .bare_drop
            .note(run(baseline.xdp("bare_drop")?, "bare_drop", &frame)?);
        for (measurement, (_, trial)) in bench.ours.iter_mut().zip(&mut trials) {
            measurement.note(trial.run(Program::IngressXdp, &frame, REPEAT)?.duration);
        }
        if let (Some(measurement), Some(object)) = (&mut bench.xdp_filter, &mut filter) {
            measurement.note(run(object.xdp(XDP_FILTER)?, XDP_FILTER, &frame)?);
        }
    }
    Ok(bench)
}

fn run(program: &mut Xdp, name: &str, frame: &[u8]) -> Result<Duration, Error> {
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat: REPEAT,
        ..TestRunOptions::new()
    };
    program
        .test_run(options)
        .map(|result| result.duration)
        .map_err(|source| Error::Run {
            program: name.to_owned(),
            source: Box::new(source),
        })
}

/// Debian's xdp-tools puts its objects into the folder of its architecture.
fn xdp_filter_object() -> Option<PathBuf> {
    std::fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|folder| folder.path().join("bpf/xdpfilt_dny_ip.o"))
        .find(|path| path.exists())
}

/// xdp-filter pins its maps, so it needs a folder for them.
fn xdp_filter(path: &Path, pins: &Path) -> Result<Object, Error> {
    const NAME: &str = XDP_FILTER;
    const MAP: &str = "filter_ipv4";
    let failed = |source| Error::Object {
        object: NAME,
        source: Box::new(source),
    };
    let map_failed = |source| Error::Map {
        attempt: "write",
        map: MAP,
        eni: NAME.to_owned(),
        source: Box::new(source),
    };
    let ebpf = EbpfLoader::new()
        .default_map_pin_directory(pins)
        .load_file(path)
        .map_err(failed)?;
    let mut object = Object::from(NAME, ebpf);
    // The program holds the map, which we are about to take and drop.
    object.xdp(NAME)?;
    let map = object.map(MAP)?;
    let mut allowed: PerCpuHashMap<_, [u8; 4], u64> =
        PerCpuHashMap::try_from(map).map_err(map_failed)?;
    let cpus = nr_cpus().map_err(|(_, error)| Error::Kernel(error.to_string()))?;
    let flags = PerCpuValues::try_from(vec![SOURCE | DESTINATION; cpus])
        .map_err(|source| map_failed(source.into()))?;
    allowed.insert(ADDRESS, flags, 0).map_err(map_failed)?;
    Ok(object)
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
        let _left_over = pins::remove(self.0);
    }
}

/// A UDP packet of 60 bytes to 10.0.1.10.
fn frame() -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 0x0a, 0x0a, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 9, 9]);
    frame.extend(ADDRESS);
    frame.extend([0x13, 0x88, 0x17, 0x70, 0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}

fn config(addresses: &[&str]) -> GuardConfig {
    let parse = |net: &str| net.parse().expect("written here");
    GuardConfig {
        mac: [0x02, 0, 0, 0, 0, 0x0a],
        mode: Mode::Enforce,
        source_dest_check: true,
        addresses: addresses.iter().map(|net| parse(net)).collect(),
        subnets: vec![parse("10.0.1.0/24")],
    }
}
