//! Tells the story in a terminal; `cargo xtask demo` calls it with all that it needs built.
#![expect(clippy::print_stderr, reason = "standard error is the screen")]

use std::io::stdin;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// Kill the agents in every chapter, at moments that this seed decides, or else the clock; it ends
    /// all the same.
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true)]
    kill_agents: Option<Option<u64>>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let options = Options {
        chart: flags.chart,
        images: flags.images,
        kill_agents: flags
            .kill_agents
            .map(|seed| seed.unwrap_or_else(seed_of_the_clock)),
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

fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn wait_for_return(lab: &Lab) {
    eprintln!("\n{}\nPress return to go on.", lab.hold());
    // At the end of the input there is nobody to wait for.
    let _ = stdin().read_line(&mut String::new());
}
