//! The parts of the test, quick ones first.

use std::process::Command;

use anyhow::Result;

use super::count::{Count, check, tests};
use crate::setup::Need;
use crate::workspace::{Workspace, find_program};
use crate::{demo, image};

/// A part that can be run alone: `cargo xtask test unit`.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether `--quick` has it.
    pub(crate) quick: bool,
    /// Whether it only computes, and may do that beside the others that are not quick.
    pub(crate) beside: bool,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(&Workspace) -> Result<Count>,
}

const NOTHING: &[Need] = &[];
const LAB: &[Need] = &[Need::Root, Need::Kernel, Need::Lab, Need::Musl, Need::Peers];
const STORY: &[Need] = &[Need::Root, Need::Kernel, Need::Lab, Need::Musl];

const fn quick(
    name: &'static str,
    about: &'static str,
    run: fn(&Workspace) -> Result<Count>,
) -> Part {
    Part {
        name,
        about,
        quick: true,
        beside: false,
        needs: NOTHING,
        run,
    }
}

const fn slow(
    name: &'static str,
    about: &'static str,
    needs: &'static [Need],
    run: fn(&Workspace) -> Result<Count>,
) -> Part {
    Part {
        name,
        about,
        quick: false,
        beside: false,
        needs,
        run,
    }
}

/// A slow part that needs nothing but the processor.
const fn beside(
    name: &'static str,
    about: &'static str,
    needs: &'static [Need],
    run: fn(&Workspace) -> Result<Count>,
) -> Part {
    Part {
        beside: true,
        ..slow(name, about, needs, run)
    }
}

/// In the order in which they are shown. Those that may run beside others are last, so that nobody waits for them while there
/// is something else to do; so the others' deadlines must bear two busy processors, of which they have the first call.
pub(crate) const PARTS: &[Part] = &[
    quick("format", "every file is as rustfmt writes it", format),
    quick("tidy", "the rules between modules, and xtask itself", tidy),
    quick("clippy", "no warning on the host", clippy),
    quick(
        "clippy-bpf",
        "no warning in the BPF programs as they are built",
        clippy_bpf,
    ),
    quick("unit", "unit and property tests of every crate", unit),
    slow(
        "doc",
        "documentation without a warning, its examples compile",
        NOTHING,
        doc,
    ),
    slow(
        "integration",
        "programs, agent, controller and chart against a real kernel and API server",
        LAB,
        integration,
    ),
    slow(
        "log",
        "the programs of a debug build tell of every verdict",
        &[Need::Root, Need::Kernel],
        log,
    ),
    slow(
        "story",
        "the demo, from helm install to an empty EC2, also while agents die",
        STORY,
        story,
    ),
    slow(
        "licences",
        "licences and sources of dependencies, by cargo-deny",
        NOTHING,
        licences,
    ),
    beside(
        "images",
        "the static programs and their images are built",
        &[Need::Musl],
        images,
    ),
    beside(
        "kernels",
        "the data path under Linux 6.1 and 6.12, in emulated machines",
        &[Need::Kernel, Need::Vm],
        kernels,
    ),
    beside(
        "vm",
        "cards that are plugged, handed to DPDK and pulled, in emulated machines",
        &[Need::Kernel, Need::Vm, Need::Dpdk, Need::Lab],
        vm,
    ),
    beside(
        "simulation",
        "the controller through 10,000 bad days on a paused clock",
        NOTHING,
        simulation,
    ),
];

/// What only debug builds have.
const BPF_LOG: &str = "--features=eniway-agent/bpf-log";

fn format(workspace: &Workspace) -> Result<Count> {
    check(&mut workspace.cargo(&["fmt", "--all", "--check"]))
}

fn tidy(workspace: &Workspace) -> Result<Count> {
    tests(&mut workspace.cargo(&["test", "--package", "xtask", "--no-fail-fast"]))
}

fn clippy(workspace: &Workspace) -> Result<Count> {
    check(&mut workspace.cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        BPF_LOG,
        "--",
        "-D",
        "warnings",
    ]))
}

/// The host's clippy sees no BPF program: they exist for that target only.
fn clippy_bpf(workspace: &Workspace) -> Result<Count> {
    let mut cargo = workspace.cargo(&[
        "clippy",
        "--package",
        "eniway-ebpf",
        "--bins",
        "--lib",
        "--release",
        "--features=log",
    ]);
    cargo
        .args([
            "--target",
            "bpfel-unknown-none",
            "-Z",
            "build-std=core",
            "--target-dir",
        ])
        .arg(workspace.target.join("clippy-bpf"))
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1");
    check(&mut cargo)
}

/// Every crate but this one, which is `tidy`'s, and the one that is built in its own way. With one choice of crates for all parts, cargo builds
/// what they depend on once.
fn others(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut cargo = workspace.cargo(&["test", "--workspace", "--exclude", "xtask"]);
    cargo.args(["--exclude", "simulation", "--no-fail-fast"]);
    cargo.args(arguments);
    cargo
}

/// By itself it needs no AWS client, so it is built with optimization in minutes.
fn simulation(workspace: &Workspace) -> Result<Count> {
    let mut cargo = workspace.cargo(&["test", "--package", "simulation"]);
    cargo.args(["--profile", "simulation", "--test", "laws"]);
    tests(cargo.env("ENIWAY_SEEDS", "10000"))
}

fn log(workspace: &Workspace) -> Result<Count> {
    tests(&mut others(workspace, &[BPF_LOG, "--test", "log"]))
}

fn images(workspace: &Workspace) -> Result<Count> {
    image::build(workspace)?;
    Ok(Count::PASSED)
}

fn unit(workspace: &Workspace) -> Result<Count> {
    tests(&mut others(workspace, &["--lib", "--bins"]))
}

/// One after the other: each test has the machine for itself. The programs of Kubernetes come first,
/// because building them takes minutes and is worth a word.
fn integration(workspace: &Workspace) -> Result<Count> {
    let programs = "lab::the_programs_of_kubernetes_are_found_or_built";
    let prepared = check(&mut others(
        workspace,
        &["--test", "it", "--", "--exact", programs, "--nocapture"],
    ))?;
    if prepared.failed > 0 {
        return Ok(prepared);
    }
    tests(&mut others(
        workspace,
        &[
            "--test",
            "*",
            "--",
            "--test-threads=1",
            "--skip",
            "kernels::",
            "--skip",
            "vm::",
            // In the machines of `kernels`: not every kernel has ipvlan.
            "--skip",
            "bpf_ipvlan::",
        ],
    ))
}

fn kernels(workspace: &Workspace) -> Result<Count> {
    let only = ["--test", "it", "--", "kernels::", "--test-threads=1"];
    tests(&mut others(workspace, &only))
}

fn vm(workspace: &Workspace) -> Result<Count> {
    let only = ["--test", "it", "--", "vm::", "--test-threads=1"];
    tests(&mut others(workspace, &only))
}

fn doc(workspace: &Workspace) -> Result<Count> {
    let mut rustdoc = workspace.cargo(&["doc", "--workspace", "--no-deps"]);
    let pages = check(rustdoc.env("RUSTDOCFLAGS", "-D warnings"))?;
    let examples = tests(&mut others(workspace, &["--doc"]))?;
    Ok([pages, examples].into_iter().sum())
}

/// Once as the demo tells it, and once while agents die in every chapter: the end is the same.
fn story(workspace: &Workspace) -> Result<Count> {
    let told = check(&mut demo::story(workspace)?)?;
    let told_again = check(demo::story(workspace)?.arg("--kill-agents"))?;
    Ok([told, told_again].into_iter().sum())
}

/// From source cargo-deny takes minutes, so it is not installed for this.
fn licences(workspace: &Workspace) -> Result<Count> {
    if find_program("cargo-deny").is_none() {
        println!("not checked: cargo-deny is not installed (`cargo install cargo-deny --locked`)");
        return Ok(Count::default());
    }
    check(&mut workspace.cargo(&["deny", "check", "bans", "licenses", "sources"]))
}
