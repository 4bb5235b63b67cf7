//! `ec2-sim`: serves a world until it is told to stop.
#![forbid(unsafe_code)]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use ec2_sim::{Options, Server, WorldSpec};

/// EC2, STS and their metadata, simulated on one HTTP endpoint.
#[derive(Parser)]
#[command(name = "ec2-sim", version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    /// YAML file with the world to begin with (see WorldSpec); without it the world is empty.
    #[arg(long)]
    world: Option<PathBuf>,
    /// Least time that every call takes, such as 50ms.
    #[arg(long, value_parser = humantime::parse_duration)]
    latency: Option<Duration>,
    /// Limit calls by EC2's token buckets.
    #[arg(long)]
    buckets: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let mut spec = match &arguments.world {
        None => WorldSpec::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read the world {}", path.display()))?;
            serde_yaml_ng::from_str(&text)
                .with_context(|| format!("understand the world {}", path.display()))?
        }
    };
    if let Some(latency) = arguments.latency {
        spec.settings.latency_ms = latency;
    }
    spec.settings.buckets |= arguments.buckets;
    let world = spec
        .build(jiff::Timestamp::now())
        .context("build the world")?;
    let listener = TcpListener::bind(arguments.listen)
        .with_context(|| format!("listen on {}", arguments.listen))?;
    let server = Server::start(world, listener, Options::default())
        .await
        .context("serve the world")?;
    tracing::info!(url = server.url(), "Serving");
    tokio::signal::ctrl_c().await.context("wait for Ctrl-C")
}
