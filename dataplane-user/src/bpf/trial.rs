//! Runs the programs on frames of ours by `BPF_PROG_TEST_RUN`, attached to nothing: for tests and for the
//! bench.

use std::{mem, time::Duration};

use aya::{
    EbpfLoader,
    programs::{TestRun as _, TestRunOptions, TestRunResult},
};
use eniway_abi::{Config, Counter, EGRESS, FROM_POD, INGRESS_TC, INGRESS_XDP, TO_POD};

use super::{
    Count, Error, GuardConfig, addresses,
    maps::Maps,
    named,
    object::{Object, objects},
    steering::{Rule, compile},
    tables,
};

/// XDP_DROP, linux/bpf.h.
const XDP_DROP: u32 = 1;
/// TC_ACT_SHOT, linux/pkt_cls.h.
const SHOT: u32 = 2;

/// A program of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The XDP program for what arrives.
    IngressXdp,
    /// The TC program for what arrives.
    IngressTc,
    /// The TC program for what leaves.
    Egress,
    /// The TC program that gives what arrives to pods.
    ToPod,
    /// The TC program for what a pod sends.
    FromPod,
}

/// An object with maps of its own.
pub struct Trial {
    object: Object,
    maps: Maps,
    config: Config,
    /// What was counted before.
    counted: Vec<Counter>,
}

/// What a program said of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// It ends here.
    pub is_drop: bool,
    /// What the program has counted.
    pub counts: Vec<Count>,
    /// For one run.
    pub duration: Duration,
}

impl Trial {
    /// Loads the object, with or without fragments, and fills its maps.
    pub fn new(frags: bool, config: &GuardConfig) -> Result<Self, Error> {
        Self::steering(frags, config, &[])
    }

    /// The same with steering rules.
    pub fn steering(frags: bool, config: &GuardConfig, rules: &[Rule]) -> Result<Self, Error> {
        let [plain, fragmented] = objects();
        let (name, elf) = if frags { fragmented } else { plain };
        let tables = compile(rules);
        let mut loader = EbpfLoader::new();
        tables::size(&mut loader, &tables);
        let mut object = Object::parse(name, elf, &mut loader)?;
        tables::fill(&mut object, &tables)?;
        let mut maps = Maps::take(&mut object)?;
        let settings = addresses::settings(config)?;
        maps.fill(&settings)?;
        Ok(Self {
            object,
            counted: maps.counters()?,
            maps,
            config: settings.config,
        })
    }

    /// Lets rules redirect to the interface with this index, unguarded.
    pub fn allow(&mut self, interface: u32) -> Result<(), Error> {
        tables::device(&mut self.object, interface, None)
    }

    /// The settings as they lie in the map.
    #[must_use]
    pub fn config(&self) -> Config {
        self.config
    }

    /// Runs a program `repeat` times on a frame.
    pub fn run(&mut self, program: Program, frame: &[u8], repeat: u32) -> Result<Answer, Error> {
        let (is_drop, duration) = self.judge(program, frame, repeat)?;
        Ok(Answer {
            is_drop,
            counts: self.counts()?,
            duration,
        })
    }

    /// The same without counting, which takes far longer: whether the frame ends here, and the time of one
    /// run.
    pub fn judge(
        &mut self,
        program: Program,
        frame: &[u8],
        repeat: u32,
    ) -> Result<(bool, Duration), Error> {
        let drop = match program {
            Program::IngressXdp => XDP_DROP,
            Program::IngressTc | Program::Egress | Program::ToPod | Program::FromPod => SHOT,
        };
        let (answer, duration) = self.answer(program, frame, repeat)?;
        Ok((answer == drop, duration))
    }

    /// The same in the hook's own numbers: what the last run said.
    pub fn answer(
        &mut self,
        program: Program,
        frame: &[u8],
        repeat: u32,
    ) -> Result<(u32, Duration), Error> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::new()
        };
        let object = &mut self.object;
        let (name, result) = match program {
            Program::IngressXdp => (INGRESS_XDP, object.xdp(INGRESS_XDP)?.test_run(options)),
            Program::IngressTc => (INGRESS_TC, object.tc(INGRESS_TC)?.test_run(options)),
            Program::Egress => (EGRESS, object.tc(EGRESS)?.test_run(options)),
            Program::ToPod => (TO_POD, object.tc(TO_POD)?.test_run(options)),
            Program::FromPod => (FROM_POD, object.tc(FROM_POD)?.test_run(options)),
        };
        let TestRunResult {
            return_value,
            duration,
            ..
        } = result.map_err(|source| Error::Run {
            program: name.to_owned(),
            source: Box::new(source),
        })?;
        Ok((return_value, duration))
    }

    /// How often each steering rule was the first that matched.
    pub fn hits(&mut self) -> Result<Vec<u64>, Error> {
        tables::hits(&mut self.object)
    }

    /// What was counted since it was last asked for.
    pub fn counts(&mut self) -> Result<Vec<Count>, Error> {
        let now = self.maps.counters()?;
        let before = mem::replace(&mut self.counted, now.clone());
        let new: Vec<Counter> = now
            .into_iter()
            .zip(before)
            .map(|(now, before)| Counter {
                packets: now.packets - before.packets,
                bytes: now.bytes - before.bytes,
            })
            .collect();
        Ok(named(&new))
    }
}
