//! Makes the machine ready for a command: first says what only a person can mend, then installs the rest.
//!
//! A second run finds everything in place in well under a second.

mod machine;
mod packages;
mod rust;

pub(crate) use machine::is_root;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// Something a command cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The toolchain of rust-toolchain.toml, the BPF linker and a C compiler.
    Rust,
    /// Static binaries.
    Musl,
    /// Root, for namespaces and BPF.
    Root,
    /// A kernel that runs the lab's networks and our programs.
    Kernel,
    /// What the lab takes from the machine, and the Go compiler that builds Kubernetes.
    Lab,
    /// Programs that tests and benchmarks are compared with.
    Peers,
    /// An emulated machine, and what makes its first file system.
    Vm,
    /// DPDK's test program, and what builds a module of a kernel for it.
    Dpdk,
}

/// What is wrong, and the cure, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Obstacle {
    what: String,
    cure: String,
}

/// Checks and installs what `needs` lists.
pub(crate) fn prepare(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    refuse(&machine::obstacles(workspace, needs))?;
    packages::install(workspace, needs)?;
    rust::install(workspace, needs)?;
    // Needs the programs that have just been installed.
    refuse(&machine::kernel_obstacles(needs))
}

fn refuse(obstacles: &[Obstacle]) -> Result<()> {
    if obstacles.is_empty() {
        return Ok(());
    }
    for Obstacle { what, cure } in obstacles {
        eprintln!("missing: {what}: {cure}");
    }
    bail!("this machine is not ready; the lines above say what to do");
}
