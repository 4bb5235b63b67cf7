//! Measures the controller as it is shipped: a release build between a real API server and an EC2 that
//! takes 50 ms for each call. `cargo xtask bench controller` calls it. Needs root.
//!
//! Nodes are `Node` objects and instances of the simulated EC2; there are no agents. Progress goes
//! to standard error, the tables to standard output.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its tables are what it is for"
)]

mod calls;
mod course;
mod ec2;
mod kills;
mod kubernetes;
mod measure;
mod metrics;
mod peer;
mod plugs;
mod program;
mod table;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::course::Course;
use crate::measure::measure;

/// What the controller costs, by the number of nodes.
#[derive(Debug, Parser)]
struct Flags {
    /// The controller's program, a release build.
    #[arg(long)]
    controller: PathBuf,
    /// Only 1 and 10 nodes.
    #[arg(long)]
    quick: bool,
    /// Only this number of nodes.
    #[arg(long)]
    nodes: Option<usize>,
    /// Nothing but controllers that are killed, so many times.
    #[arg(long)]
    kills: Option<u32>,
    /// The agent's program: nothing but interfaces that come and go, so many times.
    #[arg(long, requires = "plugs")]
    agent: Option<PathBuf>,
    #[arg(long, requires = "agent")]
    plugs: Option<u32>,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> anyhow::Result<()> {
    if let Some(runs) = flags.kills {
        print!("{}", kills::run(runs, &flags.controller)?);
        return Ok(());
    }
    if let (Some(runs), Some(agent)) = (flags.plugs, &flags.agent) {
        print!("{}", plugs::run(runs, agent, &flags.controller)?);
        return Ok(());
    }
    let mut results = Vec::new();
    let courses = Course::all(flags.quick).into_iter();
    for course in courses.filter(|course| flags.nodes.is_none_or(|nodes| course.nodes == nodes)) {
        eprintln!("   {course}");
        let result = measure(&course, &flags.controller)?;
        eprintln!("      {result}");
        results.push(result);
    }
    print!("{}", table::all(&results));
    Ok(())
}
