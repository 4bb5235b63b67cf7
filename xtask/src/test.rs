//! `cargo xtask test`: everything that proves the project right, part by part, with times.

mod count;
mod parts;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;
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
    let reports: Vec<Report> = parts.iter().map(|part| run_part(workspace, part)).collect();
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

fn run_part(workspace: &Workspace, part: &Part) -> Report {
    println!();
    step::say(&format!("{}: {}", part.name, part.about));
    let start = Instant::now();
    let count = (part.run)(workspace).unwrap_or_else(|error| {
        println!("{}: {error:#}", part.name);
        Count::FAILED
    });
    let took = start.elapsed();
    let mark = match count {
        Count { failed: 1.., .. } => "✘",
        Count { passed: 0, .. } => "not checked:",
        Count { .. } => "✔",
    };
    println!("{mark} {} {}", part.name, step::seconds(took));
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
