//! What the check costs a packet, and what the ways between an ENI and a pod carry.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::plot::Plot;
use crate::step;
use crate::workspace::Workspace;

/// Of the three tables that are printed.
pub(crate) const PLOTS: &[Plot] = &[
    Plot {
        file: "check.svg",
        title: "Nanoseconds for the check of a packet (BPF_PROG_TEST_RUN)",
        table: 0,
        column: 1,
    },
    Plot {
        file: "drop.svg",
        title: "Frames that arrive and end, million a second on one CPU",
        table: 1,
        column: 1,
    },
    Plot {
        file: "frames.svg",
        title: "Frames from the ENI into a pod, million a second on one CPU",
        table: 2,
        column: 1,
    },
    Plot {
        file: "tcp.svg",
        title: "TCP from the ENI into a pod, Gbit/s",
        table: 2,
        column: 3,
    },
];

pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let mut build = workspace.cargo(&["build", "--quiet", "--release"]);
    build.args(["--package", "eniway-agent", "--examples"]);
    step::run("building the benchmarks of the data path", &mut build)?;
    let examples = workspace.target.join("release/examples");
    let check = step::capture(
        "the check, packet by packet",
        &mut apart(workspace, &examples.join("bench")),
    )?;
    let verified = step::capture(
        "what the verifier walks through",
        &mut workspace.command(examples.join("verify")),
    )?;
    let paths = step::capture(
        "between an ENI and a pod, on real stacks",
        &mut workspace.command(examples.join("paths")),
    )?;
    Ok(format!("{check}\n{paths}\n{verified}"))
}

/// Runs with a bpffs of its own, for the maps that xdp-filter pins, and a network of its own, in which it redirects.
fn apart(workspace: &Workspace, program: &Path) -> Command {
    let mut bench = workspace.command("unshare");
    let mount = "mount -t bpf bpffs /sys/fs/bpf && exec \"$0\"";
    bench.args(["--net", "--mount", "--propagation", "private"]);
    bench.args(["sh", "-c", mount]);
    bench.arg(program);
    bench
}
