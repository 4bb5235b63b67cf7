//! A node as a machine: namespaces with a primary interface and a file system view of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::mount::{MsFlags, mount};

use crate::cgroup;
use crate::cloud::Cloud;
use crate::component::Component;
use crate::config::{NodeConfig, NodeKind};
use crate::error::Error;
use crate::namespace::{Holder, Namespace};
use crate::state::{State, failed};

/// The bridge of the primary interfaces, in the outer namespaces.
pub(crate) const BRIDGE: &str = "br0";

/// Folders that get a private layer above the host's.
const OVERLAYS: [&str; 3] = ["etc", "var", "opt"];
/// Folders that may not lie on an overlay, or must start empty.
const EMPTY: [&str; 3] = ["/run", "/var/lib/containerd", "/var/lib/kubelet"];

/// What the kubelet would write into the one kernel that we share: it is shown files that hold
/// these values already.
const KERNEL_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// A node that is up.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: NodeConfig,
    /// Dropped before the namespaces they run in.
    pub(crate) components: Vec<Component>,
    /// Its listener would keep the network namespace.
    _metadata: ec2_sim::imds::Imds,
    holder: Holder,
}

impl Node {
    /// Makes the machine; nothing runs on it yet.
    pub(crate) fn boot(
        config: &NodeConfig,
        outer: &Namespace,
        state: &State,
        cloud: &Cloud,
    ) -> Result<Self, Error> {
        let folder = state.folder().join(&config.name);
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        if config.kind == NodeKind::Kubelet {
            cgroup::make(&format!("{}/{}", state.id(), config.name))?;
        }
        let holder = Holder::new(&config.name, Some(outer))?;
        holder.namespace().run(|| private_view(&folder))??;
        let metadata = cloud.serve_metadata(&config.instance, holder.namespace())?;
        let node = Self {
            config: config.clone(),
            components: Vec::new(),
            _metadata: metadata,
            holder,
        };
        node.connect(outer)?;
        Ok(node)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        self.holder.namespace()
    }

    /// The command that opens a shell on it from the host.
    pub(crate) fn shell(&self) -> String {
        let pid = self.holder.pid();
        format!("nsenter -t {pid} --mount --net --uts --pid=/proc/{pid}/ns/pid_for_children sh")
    }

    /// Plugs `eth0` into the bridge and gives it its address.
    fn connect(&self, outer: &Namespace) -> Result<(), Error> {
        let config = &self.config;
        let far = format!("{}-eth0", config.name);
        let near = format!("{}-new", config.name);
        run(
            outer,
            &format!(
                "link add {far} type veth peer name {near} address {}",
                config.mac()
            ),
        )?;
        give(outer, &near, self.namespace(), "eth0")?;
        run(outer, &format!("link set {far} master {BRIDGE} up"))?;
        run(
            outer,
            &format!("route add {} via {}", config.pod_cidr(), config.address()),
        )?;
        run(self.namespace(), "link set eth0 up")?;
        run(
            self.namespace(),
            &format!("address add {}/24 dev eth0", config.address()),
        )?;
        run(
            self.namespace(),
            &format!("route add default via {}", config.subnet().gateway()),
        )?;
        self.namespace()
            .run(|| write("/proc/sys/net/ipv4/ip_forward", "1"))?
    }
}

/// Moves an interface into another namespace, where it gets a new name and stays down.
pub(crate) fn give(
    from: &Namespace,
    interface: &str,
    to: &Namespace,
    name: &str,
) -> Result<(), Error> {
    // `ip` finds the other namespace as its standard input; a process id would have to be
    // translated into its pid namespace.
    from.command("ip")
        .args([
            "link",
            "set",
            interface,
            "netns",
            "/proc/self/fd/0",
            "name",
            name,
        ])
        .stdin(Stdio::from(to.net()?))
        .read()
        .map(|_| ())
}

/// Runs `ip` with these words inside.
pub(crate) fn run(namespace: &Namespace, words: &str) -> Result<(), Error> {
    namespace
        .command("ip")
        .args(words.split_whitespace())
        .read()
        .map(|_| ())
}

/// Gives the node's own view of the file system; runs on a thread inside.
fn private_view(folder: &Path) -> Result<(), Error> {
    tmpfs(folder)?;
    for name in OVERLAYS {
        let (upper, work) = (
            folder.join(name).join("upper"),
            folder.join(name).join("work"),
        );
        make(&upper)?;
        make(&work)?;
        let target = PathBuf::from(format!("/{name}"));
        let data = format!(
            "lowerdir=/{name},upperdir={},workdir={}",
            upper.display(),
            work.display()
        );
        mount(
            Some("overlay"),
            &target,
            Some("overlay"),
            MsFlags::empty(),
            Some(data.as_str()),
        )
        .map_err(unmounted(&target))?;
    }
    // A new sysfs shows this network namespace's interfaces; the cgroups move over to it.
    let aside = folder.join("cgroup");
    let cgroups = Path::new("/sys/fs/cgroup");
    make(&aside)?;
    bind(cgroups, &aside)?;
    let sys = Path::new("/sys");
    mount(
        Some("sysfs"),
        sys,
        Some("sysfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .map_err(unmounted(sys))?;
    bind(&aside, cgroups)?;
    let bpf = Path::new("/sys/fs/bpf");
    mount(
        Some("bpf"),
        bpf,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .map_err(unmounted(bpf))?;
    for empty in EMPTY {
        make(Path::new(empty))?;
        tmpfs(Path::new(empty))?;
    }
    for needed in [
        "/run/netns",
        "/etc/cni/net.d",
        "/opt/cni/bin",
        "/var/log/pods",
    ] {
        make(Path::new(needed))?;
    }
    for (name, value) in KERNEL_SETTINGS {
        let file = folder.join(name.replace('/', "_"));
        write(&file, value)?;
        bind(&file, &Path::new("/proc/sys").join(name))?;
    }
    // Pods share mounts with the node both ways.
    let shared = MsFlags::MS_REC.union(MsFlags::MS_SHARED);
    mount(None::<&str>, "/", None::<&str>, shared, None::<&str>).map_err(unmounted(Path::new("/")))
}

fn tmpfs(target: &Path) -> Result<(), Error> {
    mount(
        Some("tmpfs"),
        target,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .map_err(unmounted(target))
}

fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    let flags = MsFlags::MS_BIND.union(MsFlags::MS_REC);
    mount(Some(source), target, None::<&str>, flags, None::<&str>).map_err(unmounted(target))
}

fn make(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(failed(folder))
}

pub(crate) fn write(path: impl AsRef<Path>, text: &str) -> Result<(), Error> {
    fs::write(&path, text).map_err(failed(path.as_ref()))
}

fn unmounted(target: &Path) -> impl FnOnce(nix::Error) -> Error {
    |source| Error::Mount {
        target: target.to_path_buf(),
        source,
    }
}
