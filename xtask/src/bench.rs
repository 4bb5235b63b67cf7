//! `cargo xtask bench`: the tables of the README, measured on this machine.

mod agent;
mod controller;
mod data_path;
mod plot;

use std::process::Command;
use std::thread::available_parallelism;
use std::{env, fs};

use anyhow::Result;
use clap::ValueEnum;

use self::plot::Plot;
use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;

/// Measures what the check costs a packet, beside a bare drop and xdp-filter, what comes into a pod, how soon an interface is set up, and
/// what the controller costs EC2, beside the peer. Only ratios mean something on another machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this one.
    what: Option<Bench>,

    /// The controller with 1 and 10 nodes only.
    #[arg(long)]
    quick: bool,

    /// Draws what the README shows.
    #[arg(long)]
    plots: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    DataPath,
    Agent,
    Controller,
}

impl Bench {
    fn needs(self) -> &'static [Need] {
        match self {
            Self::DataPath => &[Need::Root, Need::Kernel, Need::Rust, Need::Peers],
            Self::Agent | Self::Controller => {
                &[Need::Root, Need::Kernel, Need::Rust, Need::Musl, Need::Lab]
            }
        }
    }

    fn plots(self) -> &'static [Plot] {
        match self {
            Self::DataPath => data_path::PLOTS,
            Self::Agent | Self::Controller => &[],
        }
    }

    /// Measures, and gives its tables.
    fn run(self, workspace: &Workspace, quick: bool) -> Result<String> {
        match self {
            Self::DataPath => data_path::run(workspace),
            Self::Agent => agent::run(workspace),
            Self::Controller => controller::run(workspace, quick),
        }
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let wanted: Vec<_> = [Bench::DataPath, Bench::Agent, Bench::Controller]
        .into_iter()
        .filter(|bench| arguments.what.is_none_or(|what| what == *bench))
        .collect();
    let needs: Vec<_> = wanted
        .iter()
        .flat_map(|bench| bench.needs())
        .copied()
        .collect();
    setup::prepare(workspace, &needs)?;
    let mut tables = Vec::new();
    for bench in wanted {
        let printed = bench.run(workspace, arguments.quick)?;
        if arguments.plots {
            plot::write(workspace, &printed, bench.plots())?;
        }
        tables.push(printed);
    }
    println!("\n{}\n\n{}", machine(), tables.join("\n"));
    Ok(())
}

/// `2026-11-21, Linux 6.18.1, x86_64, 2 CPUs`.
fn machine() -> String {
    let date = step::output(Command::new("date").arg("+%F")).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = available_parallelism().map_or(0, usize::from);
    let (date, kernel) = (date.trim(), kernel.trim());
    format!("{date}, Linux {kernel}, {}, {cpus} CPUs", env::consts::ARCH)
}
