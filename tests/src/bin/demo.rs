//! Tells the story in a terminal; `cargo xtask demo` calls it with all that it needs built.
#![expect(clippy::print_stderr, reason = "standard error is the screen")]

use std::io::stdin;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use eniway_tests::story::{self, Options, Screen};
use lab::Lab;

/// The main job of eniway from end to end, on real packets.
#[derive(Debug, Parser)]
struct Flags {
    /// The folder of the Helm chart.
    #[arg(long)]
    chart: PathBuf,
    /// An image archive of the controller or the agent.
    #[arg(long = "image", required = true)]
    images: Vec<PathBuf>,
    /// Stop before things break, and wait for the return key.
    #[arg(long)]
    hold: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let options = Options {
        chart: flags.chart,
        images: flags.images,
    };
    let screen = Screen::new();
    let hold: Option<&dyn Fn(&Lab)> = if flags.hold {
        Some(&wait_for_return)
    } else {
        None
    };
    match story::tell(&options, &screen, hold) {
        Ok(chapters) => {
            eprintln!("\nAll of it held:");
            for (title, took) in chapters {
                eprintln!("  {:6.1} s  {title}", took.as_secs_f32());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nThis failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn wait_for_return(lab: &Lab) {
    eprintln!("\n{}\nPress return to go on.", lab.hold());
    // At the end of the input there is nobody to wait for.
    let _ = stdin().read_line(&mut String::new());
}
