//! `cargo xtask lab`: a Kubernetes in namespaces to play with.

use std::ffi::OsString;

use anyhow::Result;

use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;

/// Starts a Kubernetes on this machine, without eniway, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to the lab.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    setup::prepare(
        workspace,
        &[Need::Root, Need::Kernel, Need::Lab, Need::Rust],
    )?;
    let mut lab = workspace.cargo(&["run", "--quiet", "--package", "lab", "--"]);
    step::run("starting the lab", lab.args(&arguments.rest))
}
