//! The program: flags, logs, doors, and then the library.
#![forbid(unsafe_code)]

use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use eniway_controller::{
    config::{Cli, Command, Config, Crds},
    kubernetes::{ApiServer, apply_crds},
    run_listening,
    telemetry::{log, log_and_trace},
};
use eniway_ec2::{
    aws::{Aws, Place, Sqs},
    queue::Queue,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let _traces = match &cli.otlp_endpoint {
        Some(collector) => Some(log_and_trace(cli.log_format, &cli.log_level, collector)?),
        None => {
            log(cli.log_format, &cli.log_level);
            None
        }
    };
    match cli.command {
        Command::Run(config) => run(*config).await,
        Command::Crds(Crds::Apply) => {
            let client = client(None).await?;
            Ok(apply_crds(&client).await?)
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let client = client(config.kubeconfig.as_deref()).await?;
    let kubernetes = ApiServer::new(client, &config.identity);
    let ec2 = Aws::connect(Place {
        region: config.region.clone(),
        endpoint: config.ec2_endpoint.clone(),
    })
    .await;
    let queue: Option<Arc<dyn Queue>> = match config.events_queue_url.clone() {
        Some(url) => Some(Arc::new(Sqs::connect(config.region.clone(), url).await)),
        None => None,
    };
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(run_listening(config, kubernetes, ec2, queue, shutdown).await?)
}

async fn client(kubeconfig: Option<&std::path::Path>) -> anyhow::Result<kube::Client> {
    let config = match kubeconfig {
        None => kube::Config::infer().await.context("find the API server")?,
        Some(path) => {
            let file = kube::config::Kubeconfig::read_from(path)
                .with_context(|| format!("read {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
                .await
                .with_context(|| format!("find the API server by {}", path.display()))?
        }
    };
    kube::Client::try_from(config).context("connect to the API server")
}
