//! The agent: reads its settings and runs until it is told to stop.

use clap::Parser as _;
use eniway_agent::{config::Config, run, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    telemetry::log(config.log_format);
    run::run(config).await?;
    Ok(())
}
