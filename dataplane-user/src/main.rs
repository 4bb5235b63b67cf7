//! The agent: reads its settings and runs until it is told to stop, or shows what is there.

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use eniway_agent::{config::Cli, look, run, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Cli::parse() {
        Cli {
            look: Some(look), ..
        } => look::run(look).await?,
        Cli {
            run: Some(config), ..
        } => {
            telemetry::log(config.log_format);
            run::run(config).await?;
        }
        Cli { .. } => Cli::command()
            .error(ErrorKind::MissingRequiredArgument, "--node-name is missing")
            .exit(),
    }
    Ok(())
}
