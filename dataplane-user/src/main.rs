//! The agent: reads its settings and runs until it is told to stop, or shows what is there. Under the name of the CNI
//! plugin it does what a container runtime asks.

use std::io::{self, Write as _};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use eniway_agent::{
    cni,
    config::{Cli, CniCall, InstallCni, Instead},
    look, run, telemetry,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    if let Some(call) = CniCall::from_environment() {
        let (answer, done) = cni::run(&call).await;
        io::stdout().write_all(answer.as_bytes())?;
        std::process::exit(i32::from(!done));
    }
    match Cli::parse() {
        Cli {
            instead: Some(Instead::Look(look)),
            ..
        } => look::run(look).await?,
        Cli {
            instead: Some(Instead::InstallCni(InstallCni { to })),
            ..
        } => {
            let path = cni::install(&to)?;
            writeln!(io::stdout(), "{}", path.display())?;
        }
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
