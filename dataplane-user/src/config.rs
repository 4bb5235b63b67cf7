//! What the agent is asked to do: the only place that reads flags and the environment.

use std::{
    env,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use eniway_api::InstanceId;

/// Sets up the network interfaces that eniway attaches to this node.
#[derive(Clone, Debug, Parser)]
#[command(name = "eniway-agent", version, subcommand_negates_reqs = true)]
pub struct Cli {
    /// Instead of running.
    #[command(subcommand)]
    pub instead: Option<Instead>,

    #[command(flatten)]
    pub run: Option<Config>,
}

/// What it may do instead of running.
#[derive(Clone, Debug, Subcommand)]
pub enum Instead {
    #[command(flatten)]
    Look(Look),
    /// Copies this program to where the container runtime looks for CNI plugins, as `eniway`.
    InstallCni(InstallCni),
}

/// What a person may want to see.
#[derive(Clone, Debug, Subcommand)]
pub enum Look {
    /// Shows what is attached, by which rules it goes, and what it has counted.
    Inspect(Which),
    /// Shows packets and bytes a second, by rule.
    Top(Top),
    /// Shows packets that break a rule, as they come.
    Monitor(Monitor),
    /// Shows every verdict, as it comes: of programs of a debug build.
    #[cfg(feature = "bpf-log")]
    Log(Which),
}

/// Where the CNI plugin goes.
#[derive(Clone, Debug, Args)]
pub struct InstallCni {
    /// The folder of CNI plugins.
    #[arg(long, default_value = "/opt/cni/bin")]
    pub to: PathBuf,
}

/// The name under which this program is a CNI plugin.
pub const CNI_PLUGIN: &str = "eniway";

/// What a container runtime asks of a CNI plugin, by its environment.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
pub struct CniCall {
    #[arg(long, env = "CNI_COMMAND", default_value = "")]
    pub command: String,

    #[arg(long, env = "CNI_CONTAINERID", default_value = "")]
    pub container: String,

    /// The path of the pod's network namespace.
    #[arg(long, env = "CNI_NETNS", default_value = "")]
    pub namespace: String,

    /// The name that the pod's interface gets.
    #[arg(long, env = "CNI_IFNAME", default_value = "")]
    pub interface: String,
}

impl CniCall {
    /// `None` when this program was not started as a CNI plugin.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let program = env::args_os().next()?;
        if Path::new(&program).file_name()? != CNI_PLUGIN {
            return None;
        }
        Self::try_parse_from([program]).ok()
    }
}

/// Which guards.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// An ENI, or an interface; all without it.
    pub name: Option<String>,

    /// Where programs and maps are pinned.
    #[arg(long, default_value = "/sys/fs/bpf/eniway")]
    pub bpffs: PathBuf,
}

/// Packets and bytes a second.
#[derive(Clone, Debug, Args)]
pub struct Top {
    #[command(flatten)]
    pub which: Which,

    /// Seconds between two tables.
    #[arg(long, default_value = "1")]
    pub seconds: NonZero<u32>,

    /// Ends after so many tables.
    #[arg(long)]
    pub count: Option<NonZero<u32>>,
}

/// Single packets.
#[derive(Clone, Debug, Args)]
pub struct Monitor {
    #[command(flatten)]
    pub which: Which,

    /// Writes a capture for tcpdump and Wireshark as well; it holds the first 64 bytes of each packet.
    #[arg(long)]
    pub pcap: Option<PathBuf>,

    /// Most packets in a second, of each ENI on each CPU; what is beyond is counted.
    #[arg(long, default_value = "100")]
    pub rate: NonZero<u32>,

    /// Ends after so many packets.
    #[arg(long)]
    pub count: Option<NonZero<u64>>,
}

/// How the agent runs.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The name of this node.
    #[arg(long, env = "NODE_NAME", required_unless_present = "config")]
    pub node_name: Option<String>,

    /// Without Kubernetes: what the interfaces of this instance should be, in TOML.
    #[arg(long, conflicts_with_all = ["node_name", "kubeconfig"])]
    pub config: Option<PathBuf>,

    /// Where the instance's metadata service is, which tells what interfaces there are; with --config or
    /// --compare-metadata.
    #[arg(long, default_value = "http://169.254.169.254")]
    pub imds: String,

    /// Asks the metadata service every five seconds for what EC2 says of the interfaces that have records: lets in what
    /// it lists in addition, and tells where it has long differed.
    #[arg(long, conflicts_with = "config")]
    pub compare_metadata: bool,

    /// Where it is written what is there of each interface, for applications; with --config /run/eniway/interfaces
    /// if nothing is said, else nowhere.
    #[arg(long)]
    pub states: Option<PathBuf>,

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

    /// Where programs of the node are answered: the CNI plugin, and applications with AF_XDP sockets for steering
    /// rules of type Socket. Without it none is.
    #[arg(long)]
    pub socket: Option<PathBuf>,

    /// Where the kernel shows its devices; another place only for tests.
    #[arg(long, default_value = "/sys")]
    pub sysfs: PathBuf,

    /// Where the kernel shows the settings of interfaces, writable.
    #[arg(long, default_value = "/proc/sys/net")]
    pub sysctls: PathBuf,

    /// Binds devices for DPDK through this sysfs, which must be writable. Without it none is bound.
    #[arg(long)]
    pub sysfs_writable: Option<PathBuf>,

    /// Where the kernel shows its programs.
    #[arg(long, default_value = "/proc")]
    pub proc: PathBuf,

    /// Binds devices for DPDK without an IOMMU too, where dpdk.allowUnsafeNoIOMMU asks for it: whoever has such a
    /// device can read and write all of the node's memory.
    #[arg(long)]
    pub allow_unsafe_no_iommu: bool,

    /// Offers devices to the kubelet, which has its folder for device plugins here. Without it none is.
    #[arg(long)]
    pub device_plugins: Option<PathBuf>,

    /// Tells the SR-IOV network device plugin of devices, in its file, such as /etc/pcidp/config.json.
    #[arg(long)]
    pub sriov_config: Option<PathBuf>,

    /// Where the kubelet tells which pod has which device; with one of these two.
    #[arg(long, default_value = eniway_kubelet::POD_RESOURCES)]
    pub pod_resources: PathBuf,

    /// Where Multus reads of devices that pods have; with --device-plugins.
    #[arg(long, default_value = "/var/run/k8s.cni.cncf.io/devinfo/dp")]
    pub device_info: PathBuf,
    /// Where systemd keeps what its parts have while they run. If its networkd runs, it is told to leave interfaces alone
    /// that the agent addresses.
    #[arg(long, default_value = "/run/systemd")]
    pub systemd: PathBuf,

    /// The system bus, on which networkd is told to reload; without it, it is not.
    #[arg(long, default_value = "/run/dbus/system_bus_socket")]
    pub bus: PathBuf,

    /// Takes a veth for an ENI, if it bears the ENI's MAC address. For laboratories: on EC2 every ENI
    /// is a PCI device, and ena drives it.
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
