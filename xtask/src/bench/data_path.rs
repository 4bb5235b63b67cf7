//! What the check costs a packet.

use std::process::Command;

use anyhow::Result;

use crate::step;
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let mut build = workspace.cargo(&["build", "--quiet", "--release"]);
    build.args(["--package", "eniway-agent", "--example", "bench"]);
    step::run("building the benchmark of the check", &mut build)?;
    step::capture("the check, packet by packet", &mut check(workspace))
}

/// Runs with a bpffs of its own, for the maps that xdp-filter pins.
fn check(workspace: &Workspace) -> Command {
    let mut bench = workspace.command("unshare");
    let mount = "mount -t bpf bpffs /sys/fs/bpf && exec \"$0\"";
    bench.args(["--mount", "--propagation", "private", "sh", "-c", mount]);
    bench.arg(workspace.target.join("release/examples/bench"));
    bench
}
