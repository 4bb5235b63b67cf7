//! The one place that reads flags and the environment.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use eniway_api::VpcId;
use jiff::Timestamp;

/// Gives nodes the network interfaces that NodeENI objects ask for.
#[derive(Clone, Debug, Parser)]
#[command(name = "eniway-controller", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// How log lines look.
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_enum,
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,
    /// What is logged, as `info` or `info,eniway_controller=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info", global = true)]
    pub log_level: String,
    /// A collector of OpenTelemetry traces (OTLP over HTTP), as http://collector:4318; default: no traces.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", global = true)]
    pub otlp_endpoint: Option<String>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the controller.
    Run(Box<Config>),
    /// The custom resource definitions.
    #[command(subcommand)]
    Crds(Crds),
}

#[derive(Clone, Debug, Subcommand)]
pub enum Crds {
    /// Apply them (server-side) and wait until they are served.
    Apply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// What becomes of orphans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Orphans {
    /// They are deleted.
    Delete,
    /// They are logged and counted.
    Report,
}

/// How the controller runs.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The cluster's name, for the tag eniway.io/cluster.
    #[arg(long, env = "CLUSTER_NAME")]
    pub cluster_name: String,
    /// Where EC2 is, if not where the region says.
    #[arg(long, env = "EC2_ENDPOINT")]
    pub ec2_endpoint: Option<String>,
    /// An SQS queue with EventBridge's events of instances; without one, changes are found by whole reads.
    #[arg(long, env = "EVENTS_QUEUE_URL")]
    pub events_queue_url: Option<String>,
    /// The region; default: as the AWS environment says.
    #[arg(long, env = "AWS_REGION")]
    pub region: Option<String>,
    /// The cluster's network; default: that of the nodes' instances.
    #[arg(long, env = "VPC_ID", value_parser = |text: &str| Ok::<_, String>(VpcId::from(text)))]
    pub vpc_id: Option<VpcId>,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_address: Option<SocketAddr>,
    /// Whether replicas choose a leader.
    #[arg(long, env = "LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,
    /// The namespace of the controller and of the agents' leases.
    #[arg(long, env = "POD_NAMESPACE", default_value = "eniway-system")]
    pub namespace: String,
    /// This replica's name in the lease.
    #[arg(long, env = "POD_NAME", default_value = "eniway-controller")]
    pub identity: String,
    /// The share of the account's EC2 request quotas that the controller may use.
    #[arg(long, env = "THROTTLE_FRACTION", default_value_t = 0.8)]
    pub throttle_fraction: f64,
    /// Use no quotas of our own: EC2's refusals alone slow us down.
    #[arg(long, env = "NO_THROTTLE")]
    pub no_throttle: bool,
    /// What becomes of an interface of this cluster that is idle and that no record owns any more.
    #[arg(
        long,
        env = "ORPHANS",
        value_enum,
        ignore_case = true,
        default_value = "delete"
    )]
    pub orphans: Orphans,
    /// Whether interfaces that aws-multi-eni-controller made are taken over, as they are.
    #[arg(long, env = "ADOPT", default_value_t = true, action = clap::ArgAction::Set)]
    pub adopt: bool,
    /// Whether a node bears an annotation with its interfaces, for applications.
    #[arg(long, env = "ANNOTATE_NODES", default_value_t = false, action = clap::ArgAction::Set)]
    pub annotate_nodes: bool,
    /// A kubeconfig; default: the pod's service account, or KUBECONFIG.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Clocks that only tests change.
    #[arg(skip)]
    pub timing: Timing,
    #[arg(skip = Timestamp::now as fn() -> Timestamp)]
    pub wall: fn() -> Timestamp,
}

/// How long things take, and how often they happen.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two whole reads of EC2.
    pub whole_read: Duration,
    /// Between two reads of subnets and groups, and between two on request.
    pub catalog: Duration,
    pub catalog_on_request: Duration,
    /// How long EC2's reads may lag behind its writes (a minute, by EC2's eventual consistency).
    pub grace: Duration,
    /// How long the agent of a node, while it lives, may take to release an interface.
    pub release: Duration,
    /// How long a look waits for others to share its read.
    pub gather: Duration,
    /// Between two shared reads, when many follow each other.
    pub spacing: Duration,
    /// The lease of the leader, for how long it acts without renewing it, and when it renews.
    pub lease: Duration,
    pub acting: Duration,
    pub renewal: Duration,
    /// Between two status writes of one NodeENI, at most.
    pub status: Duration,
    /// Between two looks for J's lease.
    pub peer: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            whole_read: Duration::from_secs(60),
            catalog: Duration::from_secs(300),
            catalog_on_request: Duration::from_secs(30),
            grace: Duration::from_secs(60),
            release: Duration::from_secs(600),
            gather: Duration::from_millis(100),
            spacing: Duration::from_secs(2),
            lease: Duration::from_secs(30),
            acting: Duration::from_secs(20),
            renewal: Duration::from_secs(5),
            status: Duration::from_secs(1),
            peer: Duration::from_secs(15),
        }
    }
}

impl Config {
    /// A configuration for a program that runs the controller inside itself.
    #[must_use]
    pub fn embedded(cluster_name: &str) -> Self {
        Self {
            cluster_name: cluster_name.to_owned(),
            ec2_endpoint: None,
            events_queue_url: None,
            region: None,
            vpc_id: None,
            metrics_address: None,
            leader_election: false,
            namespace: "eniway-system".to_owned(),
            identity: "embedded".to_owned(),
            throttle_fraction: 1.0,
            no_throttle: true,
            orphans: Orphans::Delete,
            adopt: true,
            annotate_nodes: false,
            kubeconfig: None,
            timing: Timing::default(),
            wall: Timestamp::now,
        }
    }
}
