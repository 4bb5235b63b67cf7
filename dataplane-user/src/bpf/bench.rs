//! Measures the ingress check beside a program that only drops and beside xdp-filter, in one run on one
//! machine: only their ratios mean something elsewhere.
//!
//! Where the kernel happens to put a program's code changes its time by a tenth, so each is loaded
//! several times: of one load the fastest run counts, since all noise is slower, and of all loads the
//! one in the middle.

pub mod live;

use std::{
    iter,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData, PerCpuHashMap, PerCpuValues},
    programs::{TestRun as _, TestRunOptions, Xdp},
    util::nr_cpus,
};

use ipnet::IpNet;

use super::{
    Error, GuardConfig, Mode,
    maps::failed,
    object::Object,
    pins,
    steering::{Action, Rule},
    tables,
    trial::{Program, Trial},
};

static BASELINE: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/baseline"));

/// Times each program is loaded.
const LOADS: usize = 9;
/// Measurements of each load, and packets in one.
const ROUNDS: u32 = 12;
const REPEAT: u32 = 100_000;

/// One of our programs, with what it is run on.
#[derive(Clone, Copy, Debug)]
struct Ours {
    name: &'static str,
    program: Program,
    frags: bool,
    /// The ENI's.
    addresses: &'static [&'static str],
    /// Steering rules, of which none matches unless `hit`.
    rules: u16,
    /// The last rule matches, and drops.
    hit: bool,
    /// Whom the packet is for.
    to: [u8; 4],
}

const CHECK: Ours = Ours {
    name: "eni_ingress, one address",
    program: Program::IngressXdp,
    frags: false,
    addresses: &["10.0.1.10/32"],
    rules: 0,
    hit: false,
    to: ADDRESS,
};

const FRAGS: Ours = Ours {
    name: "eni_ingress with frags, one address",
    frags: true,
    ..CHECK
};

const OURS: &[Ours] = &[
    CHECK,
    Ours {
        name: "eni_ingress, primary address of three",
        addresses: &["10.0.1.10/32", "10.0.1.11/32", "10.0.1.64/28"],
        ..CHECK
    },
    Ours {
        name: "eni_ingress, another address of three",
        addresses: &["10.0.1.11/32", "10.0.1.10/32", "10.0.1.64/28"],
        ..CHECK
    },
    Ours {
        name: "eni_ingress, another's address: dropped and counted",
        to: [10, 0, 1, 99],
        ..CHECK
    },
    FRAGS,
    Ours {
        name: "… and 1 rule that does not match",
        rules: 1,
        ..FRAGS
    },
    Ours {
        name: "… and 100 rules",
        rules: 100,
        ..FRAGS
    },
    Ours {
        name: "… and 1,000 rules",
        rules: 1000,
        ..FRAGS
    },
    Ours {
        name: "… and 1,000 rules, of which the last drops",
        rules: 1000,
        hit: true,
        ..FRAGS
    },
    Ours {
        name: "eni_ingress_tc, one address",
        program: Program::IngressTc,
        ..CHECK
    },
    Ours {
        name: "eni_to_pod, for no pod",
        program: Program::ToPod,
        ..CHECK
    },
];

/// What a row of xdp-filter is called, and its program, which its object is named for.
const XDP_FILTER: [(&str, &str); 2] = [
    ("xdp-filter, deny by IP", "xdpfilt_dny_ip"),
    ("xdp-filter, allow by IP", "xdpfilt_alw_ip"),
];

/// Whom the packet is for.
const ADDRESS: [u8; 4] = [10, 0, 1, 10];
/// And for which port.
const PORT: u16 = 6000;

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
    /// A search through 1,000 steering rules.
    pub linear: Measurement,
    /// xdp-filter in deny mode by IP, with the packet's address allowed; `None` where xdp-tools is not
    /// installed.
    pub xdp_filter: Option<Measurement>,
    /// xdp-filter in allow mode by IP, with nothing denied; `None` as above.
    pub xdp_filter_allow: Option<Measurement>,
}

impl Measurement {
    /// How many times as long this takes as `other`.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> f64 {
        self.duration.as_secs_f64() / other.duration.as_secs_f64()
    }
}

/// Measures; takes some seconds. `pins` is a folder in a bpffs, for maps that xdp-filter must pin; it is
/// made and removed.
pub fn bench(pins: &Path) -> Result<Bench, Error> {
    let scratch = Scratch::new(pins)?;
    let mut entrants = vec![Entrant::new("bare drop", bare_drop)?];
    for one in OURS {
        entrants.push(Entrant::new(one.name, || ours(one))?);
    }
    entrants.push(Entrant::new(
        "1,000 rules one after the other, and no check",
        linear,
    )?);
    for (name, program) in XDP_FILTER {
        if let Some(path) = xdp_filter_object(program) {
            let load = || xdp_filter(&path, program, scratch.0);
            entrants.push(Entrant::new(name, load)?);
        }
    }
    let frame = frame(ADDRESS);
    // In turns, so that a machine that slows down slows all of them down.
    for _ in 0..ROUNDS {
        for entrant in &mut entrants {
            entrant.run(&frame)?;
        }
    }
    let mut measurements = entrants.into_iter().map(Entrant::result);
    Ok(Bench {
        bare_drop: measurements.next().expect("the first entrant"),
        ours: measurements.by_ref().take(OURS.len()).collect(),
        linear: measurements.next().expect("behind ours"),
        xdp_filter: measurements.next(),
        xdp_filter_allow: measurements.next(),
    })
}

/// Runs a loaded program on a frame.
type Run = Box<dyn FnMut(&[u8]) -> Result<Duration, Error>>;

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

    fn run(&mut self, frame: &[u8]) -> Result<(), Error> {
        for (run, fastest) in &mut self.loads {
            *fastest = run(frame)?.min(*fastest);
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
    Ok(Box::new(move |frame| run(object.xdp(NAME)?, NAME, frame)))
}

/// Looks at 1,000 rules that do not match, by source and port.
fn linear() -> Result<Run, Error> {
    const NAME: &str = "linear_search";
    let mut object = Object::parse("baseline", BASELINE, &mut EbpfLoader::new())?;
    let mut list: Array<&mut MapData, [u32; 3]> = tables::of(&mut object, "LIST")?;
    for number in 0..1000_u32 {
        let port = 8000 + number;
        let source = u32::from_ne_bytes(source(number).octets());
        let rule = [source, u32::MAX, port | port << 16];
        list.set(number, rule, 0)
            .map_err(failed(NAME, "write", "LIST"))?;
    }
    Ok(Box::new(move |frame| run(object.xdp(NAME)?, NAME, frame)))
}

/// The source of a rule, which is not the packet's.
fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 0).to_bits() + number)
}

/// Rules that do not match the packet, though only a look at everything tells.
fn rules(count: u16) -> Vec<Rule> {
    let rule = |number: u16| Rule {
        source: Some(IpNet::new(source(number.into()).into(), 32).expect("32 bits")),
        destination: None,
        protocol: Some(17),
        source_ports: Vec::new(),
        destination_ports: vec![8000 + number..=8000 + number],
        action: Action::Drop,
    };
    (0..count).map(rule).collect()
}

fn ours(ours: &Ours) -> Result<Run, Error> {
    let mut rules = rules(ours.rules);
    if let (true, Some(last)) = (ours.hit, rules.last_mut()) {
        last.source = None;
        last.destination_ports = vec![PORT..=PORT];
    }
    let mut trial = Trial::steering(ours.frags, &config(ours.addresses), &rules)?;
    let (program, frame) = (ours.program, frame(ours.to));
    Ok(Box::new(move |_| {
        let (_, duration) = trial.judge(program, &frame, REPEAT)?;
        Ok(duration)
    }))
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
fn xdp_filter_object(program: &str) -> Option<PathBuf> {
    std::fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|folder| folder.path().join(format!("bpf/{program}.o")))
        .find(|path| path.exists())
}

/// xdp-filter pins its maps, so it needs a folder for them.
fn xdp_filter(path: &Path, name: &'static str, pins: &Path) -> Result<Run, Error> {
    const MAP: &str = "filter_ipv4";
    let failed = |source| Error::Object {
        object: name,
        source: Box::new(source),
    };
    let map_failed = |source| Error::Map {
        attempt: "write",
        map: MAP,
        eni: name.to_owned(),
        source: Box::new(source),
    };
    let ebpf = EbpfLoader::new()
        .default_map_pin_directory(pins)
        .load_file(path)
        .map_err(failed)?;
    let mut object = Object::from(name, ebpf);
    // The program holds the map, which we are about to take and drop.
    object.xdp(name)?;
    let map = object.map(MAP)?;
    let mut allowed: PerCpuHashMap<_, [u8; 4], u64> =
        PerCpuHashMap::try_from(map).map_err(map_failed)?;
    let cpus = nr_cpus().map_err(|(_, error)| Error::Kernel(error.to_string()))?;
    let flags = PerCpuValues::try_from(vec![SOURCE | DESTINATION; cpus])
        .map_err(|source| map_failed(source.into()))?;
    // In allow mode what is listed is denied.
    if name == XDP_FILTER[0].1 {
        allowed.insert(ADDRESS, flags, 0).map_err(map_failed)?;
    }
    Ok(Box::new(move |frame| run(object.xdp(name)?, name, frame)))
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

/// A UDP packet of 60 bytes.
fn frame(to: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 0x0a, 0x0a, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 9, 9]);
    frame.extend(to);
    frame.extend([0x13, 0x88]);
    frame.extend(PORT.to_be_bytes());
    frame.extend([0, 26, 0, 0]);
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
