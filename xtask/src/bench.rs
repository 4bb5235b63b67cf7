//! `cargo xtask bench`: the tables of the README, measured on this machine.

use std::process::Command;

use anyhow::Result;

use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;

/// Only ratios of one run mean something on another machine.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::prepare(
        workspace,
        &[Need::Root, Need::Kernel, Need::Rust, Need::Peers],
    )?;
    let mut build = workspace.cargo(&["build", "--quiet", "--release"]);
    build.args(["--package", "eniway-agent", "--example", "bench"]);
    step::run("building the benchmark", &mut build)?;
    step::run("the check, packet by packet", &mut check(workspace))
}

/// Runs with a bpffs of its own, for the maps that xdp-filter pins.
fn check(workspace: &Workspace) -> Command {
    let mut bench = workspace.command("unshare");
    let mount = "mount -t bpf bpffs /sys/fs/bpf && exec \"$0\"";
    bench.args(["--mount", "--propagation", "private", "sh", "-c", mount]);
    bench.arg(workspace.target.join("release/examples/bench"));
    bench
}
