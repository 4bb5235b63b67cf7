//! Installs the Rust toolchain of rust-toolchain.toml, the musl target and the BPF linker.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::Need;
use crate::step;
use crate::workspace::{Workspace, has_rustup, musl_target};

/// Links with rustc's own LLVM, so its version belongs to the toolchain's.
const BPF_LINKER: &str = "0.10.4";

/// The components of rust-toolchain.toml, each with a file of it.
const COMPONENTS: [(&str, &str); 3] = [
    ("clippy", "bin/cargo-clippy"),
    ("rustfmt", "bin/rustfmt"),
    ("rust-src", "lib/rustlib/src/rust/library/core"),
];

pub(super) fn install(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    if needs.contains(&Need::Rust) {
        toolchain(workspace)?;
        program(workspace, "bpf-linker", BPF_LINKER, "about a minute")?;
    }
    if needs.contains(&Need::Musl) {
        musl(workspace)?;
    }
    Ok(())
}

/// Without rustup the distribution's toolchain is taken as it is; what it lacks, cargo will say.
fn toolchain(workspace: &Workspace) -> Result<()> {
    if !has_rustup() {
        return Ok(());
    }
    let sysroot = || step::output(workspace.command("rustc").args(["--print", "sysroot"]));
    if sysroot().is_none() {
        // Without a name it is the toolchain of rust-toolchain.toml.
        let mut rustup = workspace.command("rustup");
        let what = "installing the Rust toolchain of rust-toolchain.toml";
        step::run(
            what,
            rustup.args(["toolchain", "install", "--no-self-update"]),
        )?;
    }
    let sysroot = sysroot().context("rustc, just installed, does not start")?;
    let lacks = |file: &str| !Path::new(sysroot.trim()).join(file).exists();
    let missing: Vec<&str> = COMPONENTS
        .into_iter()
        .filter(|(_, file)| lacks(file))
        .map(|(component, _)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut rustup = workspace.command("rustup");
    rustup.args(["component", "add"]).args(&missing);
    step::run(&format!("installing {}", missing.join(" ")), &mut rustup)
}

/// A program from crates.io, in this very version.
fn program(workspace: &Workspace, name: &str, version: &str, takes: &str) -> Result<()> {
    let installed = step::output(workspace.command(name).arg("--version"));
    if installed.is_some_and(|text| text.split_whitespace().any(|word| word == version)) {
        return Ok(());
    }
    let crate_name = format!("{name}@{version}");
    let mut install = workspace.cargo(&["install", "--locked", "--force", &crate_name]);
    step::run(&format!("installing {crate_name} ({takes})"), &mut install)
}

fn musl(workspace: &Workspace) -> Result<()> {
    let target = musl_target();
    let libdir = ["--print", "target-libdir", "--target", &target];
    let there = step::output(workspace.command("rustc").args(libdir))
        .is_some_and(|folder| Path::new(folder.trim()).is_dir());
    if there || !has_rustup() {
        return Ok(());
    }
    step::run(
        &format!("installing Rust's libraries for {target}"),
        workspace.command("rustup").args(["target", "add", &target]),
    )
}
