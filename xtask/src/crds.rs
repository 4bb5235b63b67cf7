//! `cargo xtask crds`: writes the custom resource definitions that the chart shows.
//!
//! The controller applies its own (the chart's hook job): this file is for people and for review.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;

/// Writes charts/eniway/files/crds.yaml.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Writes nothing; fails if the file is not what would be written.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    setup::prepare(workspace, &[Need::Rust])?;
    let mut example = workspace.cargo(&[
        "run",
        "--quiet",
        "--package",
        "eniway-api",
        "--example",
        "crds",
    ]);
    let yaml =
        step::output(&mut example).context("`cargo run -p eniway-api --example crds` failed")?;
    let path = file(workspace);
    if arguments.check {
        let current =
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        if current != yaml {
            bail!(
                "{} is not what the API says: run `cargo xtask crds`",
                path.display()
            );
        }
        return Ok(());
    }
    fs::write(&path, yaml).with_context(|| format!("write {}", path.display()))?;
    println!("   {}", path.display());
    Ok(())
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.chart().join("files/crds.yaml")
}
