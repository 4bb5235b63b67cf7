//! Installs the Rust toolchain of rust-toolchain.toml, the musl target and the BPF linker.

use anyhow::Result;

use super::Need;
use crate::step;
use crate::workspace::{Workspace, has_rustup, musl_target};

/// Links with rustc's own LLVM, so its version belongs to the toolchain's.
const BPF_LINKER: &str = "0.10.4";

pub(super) fn install(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    if needs.contains(&Need::Rust) {
        toolchain(workspace)?;
        bpf_linker(workspace)?;
    }
    if needs.contains(&Need::Musl) {
        musl(workspace)?;
    }
    Ok(())
}

/// Without rustup the distribution's toolchain is taken as it is; what it lacks, cargo will say.
fn toolchain(workspace: &Workspace) -> Result<()> {
    let complete = || {
        let sysroot = step::output(workspace.command("rustc").args(["--print", "sysroot"]))?;
        let sysroot = std::path::Path::new(sysroot.trim());
        let there = |file: &str| sysroot.join(file).exists();
        Some(
            there("bin/cargo-clippy")
                && there("bin/rustfmt")
                && there("lib/rustlib/src/rust/library/core"),
        )
    };
    if !has_rustup() || complete() == Some(true) {
        return Ok(());
    }
    // Without a name it is the toolchain of rust-toolchain.toml, with the components listed there.
    step::run(
        "installing the Rust toolchain of rust-toolchain.toml",
        workspace.command("rustup").args(["toolchain", "install"]),
    )
}

fn bpf_linker(workspace: &Workspace) -> Result<()> {
    let version = step::output(workspace.command("bpf-linker").arg("--version"));
    if version.is_some_and(|text| text.split_whitespace().any(|word| word == BPF_LINKER)) {
        return Ok(());
    }
    let crate_name = format!("bpf-linker@{BPF_LINKER}");
    let mut install = workspace.cargo(&["install", "--locked", "--force", &crate_name]);
    step::run(
        &format!("installing {crate_name} (about a minute)"),
        &mut install,
    )
}

fn musl(workspace: &Workspace) -> Result<()> {
    let target = musl_target();
    let libdir = ["--print", "target-libdir", "--target", &target];
    let there = step::output(workspace.command("rustc").args(libdir))
        .is_some_and(|folder| std::path::Path::new(folder.trim()).is_dir());
    if there || !has_rustup() {
        return Ok(());
    }
    step::run(
        &format!("installing Rust's libraries for {target}"),
        workspace.command("rustup").args(["target", "add", &target]),
    )
}
