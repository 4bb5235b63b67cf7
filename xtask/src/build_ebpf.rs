//! `cargo xtask build-ebpf`: builds the BPF objects, says where they are, and asks the kernel's verifier.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::setup::{self, Need};
use crate::step;
use crate::workspace::Workspace;

/// The objects that the agent embeds, and the one that benchmarks are compared with.
const OBJECTS: [&str; 3] = ["dataplane", "dataplane-frags", "baseline"];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::prepare(workspace, &[Need::Rust])?;
    let built = build(workspace)?;
    let folder = workspace.target.join("bpf");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for name in OBJECTS {
        let (from, to) = (built.join(name), folder.join(name).with_extension("o"));
        let size = fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
        println!("   {} {size} bytes", to.display());
    }
    if !setup::is_root() {
        println!("   not root, so the kernel's verifier was not asked: run this as root to ask it");
        return Ok(());
    }
    step::run("asking the kernel's verifier", &mut verifier(workspace))
}

/// Loads every program into the kernel and says how that went.
fn verifier(workspace: &Workspace) -> Command {
    workspace.cargo(&[
        "run",
        "--quiet",
        "--package",
        "eniway-agent",
        "--example",
        "verify",
    ])
}

/// Lets the agent's build script build the objects; the folder they are in.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    step::say("building the BPF objects");
    let mut cargo = workspace.cargo(&[
        "check",
        "--package",
        "eniway-agent",
        "--message-format=json-render-diagnostics",
    ]);
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("the BPF objects were not built; the lines above say why");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| out_dir(&message))
        .context("cargo did not say where the agent's build script writes")
}

/// Where the agent's build script wrote, if this message of cargo's is about it.
fn out_dir(message: &Value) -> Option<PathBuf> {
    let script = message["reason"] == "build-script-executed";
    let folder = Path::new(message["out_dir"].as_str()?);
    (script && folder.join(OBJECTS[0]).is_file()).then(|| folder.to_path_buf())
}
