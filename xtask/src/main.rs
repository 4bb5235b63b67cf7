//! The project's commands: `cargo xtask demo | test | bench | crds | instance-types | build-ebpf | image
//! | lab`.
//!
//! It sets the machine up and starts cargo for everything heavy, so it depends on none of ours and
//! is built in seconds.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to the person at the terminal"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

mod archive;
mod bench;
mod build_ebpf;
mod crds;
mod demo;
mod image;
mod instance_types;
mod lab;
mod setup;
mod step;
mod test;
mod workspace;

/// The project's commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Test(test::Arguments),
    Bench(bench::Arguments),
    Crds(crds::Arguments),
    InstanceTypes(instance_types::Arguments),
    /// Builds the BPF objects, says where they are, and shows them to this kernel's verifier.
    BuildEbpf,
    /// Builds container images of static binaries, without Docker.
    Image,
    Lab(lab::Arguments),
}

fn main() -> ExitCode {
    let workspace = Workspace::find();
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&workspace, &arguments),
        Command::Test(arguments) => test::run(&workspace, &arguments),
        Command::Bench(arguments) => bench::run(&workspace, &arguments),
        Command::Crds(arguments) => crds::run(&workspace, &arguments),
        Command::InstanceTypes(arguments) => instance_types::run(&workspace, &arguments),
        Command::BuildEbpf => build_ebpf::run(&workspace),
        Command::Image => image::run(&workspace),
        Command::Lab(arguments) => lab::run(&workspace, &arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
