//! `cargo xtask image`: container images of static binaries, built without Docker.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::archive::{Image, write};
use crate::setup::{self, Need};
use crate::step;
use crate::workspace::{VERSION, Workspace, musl_target};

/// Nobody, as distroless images count.
const NONROOT: &str = "65532:65532";
/// The kernel's BPF calls ask for capabilities, which Kubernetes gives to root only.
const ROOT: &str = "0:0";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::prepare(workspace, &[Need::Rust, Need::Musl])?;
    let images = build(workspace)?;
    for image in images {
        println!(
            "   for a node: ctr --namespace k8s.io images import {}",
            image.display()
        );
    }
    Ok(())
}

/// Builds the controller's and the agent's; what has not changed is not built again.
pub(crate) fn build(workspace: &Workspace) -> Result<[PathBuf; 2]> {
    let target = musl_target();
    let mut cargo = workspace.cargo(&["build", "--release", "--target", &target]);
    cargo.args([
        "--package",
        "eniway-controller",
        "--package",
        "eniway-agent",
        "--bins",
    ]);
    // C code in dependencies (cryptography) is compiled against musl, too.
    cargo.env(format!("CC_{}", target.replace('-', "_")), "musl-gcc");
    step::run(
        "building static binaries (minutes, the first time)",
        &mut cargo,
    )?;
    Ok([
        pack(workspace, "controller", NONROOT)?,
        pack(workspace, "agent", ROOT)?,
    ])
}

fn pack(workspace: &Workspace, name: &str, user: &str) -> Result<PathBuf> {
    let program = format!("eniway-{name}");
    let binary = workspace
        .target
        .join(musl_target())
        .join("release")
        .join(&program);
    let contents = fs::read(&binary).with_context(|| format!("read {}", binary.display()))?;
    let reference = format!("eniway/{name}:{VERSION}");
    let folder = workspace.target.join("images");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(format!("{program}.tar"));
    // Whoever loads the image meanwhile, or packs it too, finds a whole one.
    let part = folder.join(format!("{program}.{}.part", std::process::id()));
    let file = File::create(&part).with_context(|| format!("create {}", part.display()))?;
    let image = Image {
        reference: &reference,
        program: &program,
        contents: &contents,
        user,
    };
    write(&image, BufWriter::new(file)).with_context(|| format!("write {}", part.display()))?;
    fs::rename(&part, &path).with_context(|| format!("write {}", path.display()))?;
    println!("   {} {reference}", path.display());
    Ok(path)
}
