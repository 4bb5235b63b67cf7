//! `cargo xtask lab`: a Kubernetes in namespaces to play with.

use anyhow::Result;

use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;

/// Starts a Kubernetes on this machine, with a simulated EC2 and without eniway.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many nodes it has.
    #[arg(default_value_t = 2)]
    nodes: u8,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    setup::prepare(
        workspace,
        &[Need::Root, Need::Kernel, Need::Lab, Need::Rust],
    )?;
    let mut lab = workspace.cargo(&[
        "run",
        "--quiet",
        "--package",
        "lab",
        "--bin",
        "eniway-lab",
        "--",
    ]);
    step::run("starting the lab", lab.arg(arguments.nodes.to_string()))
}
