//! `cargo xtask demo`: the whole story in one terminal, on this machine.

use std::process::Command;

use anyhow::Result;

use crate::setup::{self, Need};
use crate::workspace::Workspace;
use crate::{image, step};

/// Shows eniway at work: a Kubernetes, an EC2 and real packets, all on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Stops before things break, says how to get a shell with kubectl, and waits for the return key.
    #[arg(long)]
    hold: bool,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    setup::prepare(
        workspace,
        &[Need::Root, Need::Kernel, Need::Lab, Need::Rust, Need::Musl],
    )?;
    let mut story = story(workspace)?;
    if arguments.hold {
        story.arg("--hold");
    }
    step::run("telling the story", &mut story)
}

/// The program that tells it, with the images it installs; these are built first.
pub(crate) fn story(workspace: &Workspace) -> Result<Command> {
    let images = image::build(workspace)?;
    let mut story = workspace.cargo(&[
        "run",
        "--quiet",
        "--package",
        "eniway-tests",
        "--bin",
        "demo",
        "--",
    ]);
    story.arg("--chart").arg(workspace.chart());
    for image in images {
        story.arg("--image").arg(image);
    }
    Ok(story)
}
