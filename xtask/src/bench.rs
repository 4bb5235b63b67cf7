//! `cargo xtask bench`: the tables of the README, measured on this machine.

use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;

/// Measures and prints tables; ratios are of one run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this one.
    subject: Option<Subject>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The BPF check beside a bare drop and beside xdp-filter.
    Dataplane,
    /// The controller against simulated fleets.
    Controller,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    setup::prepare(
        workspace,
        &[Need::Root, Need::Kernel, Need::Lab, Need::Rust, Need::Peers],
    )?;
    let wanted = |subject| arguments.subject.is_none_or(|only| only == subject);
    if wanted(Subject::Dataplane) {
        step::run("the check, packet by packet", &mut dataplane(workspace)?)?;
    }
    if wanted(Subject::Controller) {
        let mut bench = workspace.cargo(&[
            "run",
            "--quiet",
            "--release",
            "--package",
            "eniway-tests",
            "--bin",
            "bench",
        ]);
        step::run("the controller, fleet by fleet", &mut bench)?;
    }
    Ok(())
}

/// Runs with a bpffs of its own, for the maps that xdp-filter pins.
fn dataplane(workspace: &Workspace) -> Result<Command> {
    const EXAMPLE: [&str; 5] = [
        "--release",
        "--package",
        "eniway-agent",
        "--example",
        "bench",
    ];
    let mut build = workspace.cargo(&["build", "--quiet"]);
    step::run("building the benchmark", build.args(EXAMPLE))?;
    let mut bench = workspace.command("unshare");
    let mount = "mount -t bpf bpffs /sys/fs/bpf && exec \"$0\"";
    bench.args(["--mount", "--propagation", "private", "sh", "-c", mount]);
    bench.arg(workspace.target.join("release/examples/bench"));
    Ok(bench)
}
