//! `cargo xtask test`: everything that proves the project right, part by part, with times.

mod beside;
mod count;
mod parts;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;
use beside::Beside;
use count::Count;
use parts::{PARTS, Part};

/// Runs the tests and says how long each part took.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only what answers in minutes and needs no root: format, clippy, tidy and unit tests.
    #[arg(long)]
    quick: bool,

    /// Only these parts; see the list that a wrong name prints.
    parts: Vec<String>,
}

/// What became of a part.
struct Report {
    name: &'static str,
    count: Count,
    took: Duration,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let parts = choose(arguments)?;
    let mut needs: Vec<Need> = parts.iter().flat_map(|part| part.needs).copied().collect();
    needs.push(Need::Rust);
    setup::prepare(workspace, &needs)?;

    let start = Instant::now();
    let reports = run_all(workspace, &parts);
    summarize(&reports, start.elapsed())
}

fn choose(arguments: &Arguments) -> Result<Vec<&'static Part>> {
    if let Some(unknown) = arguments
        .parts
        .iter()
        .find(|name| PARTS.iter().all(|part| part.name != **name))
    {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!(
            "there is no part {unknown:?}; there are {}",
            names.join(", ")
        );
    }
    let wanted = |part: &&Part| {
        let named = arguments.parts.iter().any(|name| name == part.name);
        named || (arguments.parts.is_empty() && (part.quick || !arguments.quick))
    };
    Ok(PARTS.iter().filter(wanted).collect())
}

/// In order; those that only compute begin with the first part that is neither quick nor one of them.
fn run_all(workspace: &Workspace, parts: &[&'static Part]) -> Vec<Report> {
    let beside: Vec<_> = parts.iter().copied().filter(|part| part.beside).collect();
    let mut running = None;
    let run = |part: &&'static Part| {
        if !part.quick && !part.beside && !beside.is_empty() && running.is_none() {
            running = Some(Beside::start(workspace, &beside));
        }
        match &running {
            Some(running) if part.beside => report(part, || {
                let ended = running.wait(part)?;
                print!("{}", ended.said);
                Ok((ended.count, ended.took))
            }),
            _ => report(part, || {
                let start = Instant::now();
                Ok(((part.run)(workspace)?, start.elapsed()))
            }),
        }
    };
    parts.iter().map(run).collect()
}

fn report(part: &Part, run: impl FnOnce() -> Result<(Count, Duration)>) -> Report {
    println!();
    step::say(&format!("{}: {}", part.name, part.about));
    let (count, took) = run().unwrap_or_else(|error| {
        println!("{}: {error:#}", part.name);
        (Count::FAILED, Duration::ZERO)
    });
    let mark = match count {
        Count { failed: 1.., .. } => "✘",
        Count { passed: 0, .. } => "not checked:",
        Count { .. } => "✔",
    };
    let whose = if part.beside { " of its own time" } else { "" };
    println!("{mark} {} {}{whose}", part.name, step::seconds(took));
    Report {
        name: part.name,
        count,
        took,
    }
}

fn summarize(reports: &[Report], took: Duration) -> Result<()> {
    println!(
        "\n{:<14} {:>7} {:>7} {:>14}",
        "part", "passed", "failed", "time"
    );
    for Report { name, count, took } in reports {
        println!(
            "{name:<14} {:>7} {:>7} {:>14}",
            count.passed,
            count.failed,
            step::seconds(*took)
        );
    }
    let total: Count = reports.iter().map(|report| report.count).sum();
    println!(
        "{:<14} {:>7} {:>7} {:>14}",
        "all",
        total.passed,
        total.failed,
        step::seconds(took)
    );
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        // The line above is the last one on standard output.
        std::process::exit(1);
    }
    Ok(())
}
