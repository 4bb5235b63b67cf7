//! Real frames: a source that sends as many as one CPU can, and what ends them.

use std::time::Duration;

use aya::{
    EbpfLoader,
    maps::{Array, MapData, PerCpuArray},
    programs::{
        LinkOrder, TcAttachType, TestRun as _, TestRunAttrs, TestRunOptions, XdpMode,
        tc::TcAttachOptions,
    },
};

use super::{BASELINE, Error, failed};
use crate::bpf::{object::Object, tables};

/// Frames that are sent at once: as a driver's receive queue gives them.
const BATCH: u32 = 64;

/// Sends frames out of an interface of this thread's namespace (`BPF_F_TEST_XDP_LIVE_FRAMES`).
pub struct Source(Object);

impl Source {
    /// Out of the interface with this index.
    pub fn new(interface: u32) -> Result<Self, Error> {
        let mut object = Object::parse("baseline", BASELINE, &mut EbpfLoader::new())?;
        let mut target: Array<&mut MapData, u32> = tables::of(&mut object, "TARGET")?;
        target
            .set(0, interface, 0)
            .map_err(failed("the source", "write", "TARGET"))?;
        object.xdp("source")?;
        Ok(Self(object))
    }

    /// Sends `count` copies of a frame; the time of one.
    pub fn send(&mut self, frame: &[u8], count: u32) -> Result<Duration, Error> {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(frame.chunks_exact(8)) {
            *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
        }
        let mut head: Array<&mut MapData, [u64; 4]> = tables::of(&mut self.0, "HEAD")?;
        head.set(0, words, 0)
            .map_err(failed("the source", "write", "HEAD"))?;
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let sent = self.0.xdp("source")?.test_run(options);
        sent.map(|result| result.duration)
            .map_err(|source| Error::Run {
                program: "source".to_owned(),
                source: Box::new(source),
            })
    }
}

/// Counts the packets that come to an interface's stack, and ends them there.
pub struct Sink(Object);

impl Sink {
    /// At the interface of this name in this thread's namespace, while the value lives.
    pub fn new(interface: &str) -> Result<Self, Error> {
        let mut object = Object::parse("baseline", BASELINE, &mut EbpfLoader::new())?;
        let program = object.tc("sink")?;
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        program
            .attach_with_options(interface, TcAttachType::Ingress, order)
            .map_err(attach_error("sink"))?;
        Ok(Self(object))
    }

    /// Packets so far.
    pub fn count(&mut self) -> Result<u64, Error> {
        let counts: PerCpuArray<&mut MapData, u64> = tables::of(&mut self.0, "SUNK")?;
        let counts = counts.get(&0, 0);
        let counts = counts.map_err(failed("the sink", "read", "SUNK"))?;
        Ok(counts.iter().sum())
    }
}

/// Drops all that arrives, in the driver.
pub struct BareDrop(#[expect(dead_code, reason = "its end detaches the program")] Object);

impl BareDrop {
    /// At the interface with this index, while the value lives.
    pub fn new(interface: u32) -> Result<Self, Error> {
        let mut object = Object::parse("baseline", BASELINE, &mut EbpfLoader::new())?;
        object
            .xdp("bare_drop")?
            .attach_to_if_index(interface, XdpMode::Driver)
            .map_err(attach_error("bare_drop"))?;
        Ok(Self(object))
    }
}

fn attach_error(program: &'static str) -> impl FnOnce(aya::programs::ProgramError) -> Error {
    move |source| Error::Attach {
        attempt: "attach",
        program,
        ifindex: 0,
        source: Box::new(source),
    }
}
