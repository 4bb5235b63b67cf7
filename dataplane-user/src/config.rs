//! The agent's settings: the only place that reads flags and the environment.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use eniway_api::InstanceId;

/// Sets up the network interfaces that eniway attaches to this node.
#[derive(Clone, Debug, Parser)]
#[command(name = "eniway-agent", version)]
pub struct Config {
    /// The name of this node.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,

    /// The namespace of this node's lease, by which the controller knows that the agent is alive.
    #[arg(long, env = "POD_NAMESPACE", default_value = "eniway-system")]
    pub namespace: String,

    /// How to reach the API server. Without it: KUBECONFIG, ~/.kube/config, the pod's account.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,

    /// The instance this node is. Without it: from the Node's provider ID.
    #[arg(long)]
    pub instance_id: Option<InstanceId>,

    /// Where programs and maps are pinned; on a bpffs.
    #[arg(long, default_value = "/sys/fs/bpf/eniway")]
    pub bpffs: PathBuf,

    /// Where the kernel shows its devices; another place only for tests.
    #[arg(long, default_value = "/sys")]
    pub sysfs: PathBuf,

    /// Takes a veth for an ENI, if it bears the ENI's MAC address. For laboratories: on EC2 every ENI
    /// is a PCI device.
    #[arg(long)]
    pub accept_virtual: bool,

    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:8081")]
    pub metrics_address: SocketAddr,

    /// How the log is written; what is logged is RUST_LOG's.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
