//! A host of the VPC, a node with an ENI, and a pod, in namespaces of their own.

use std::{
    error::Error,
    fs::{self, File},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
};

pub(crate) type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The ENI's own address, the pod's, and the host's.
pub(crate) const NODE: &str = "10.0.1.10";
pub(crate) const POD: &str = "10.0.1.65";
pub(crate) const HOST: &str = "10.0.1.20";
pub(crate) const ENI_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
pub(crate) const POD_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
pub(crate) const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];

const BPFFS: &str = "/sys/fs/bpf";
const PODS: [&str; 2] = ["vpc", "pod"];

/// Leaves the machine's network and mounts behind.
pub(crate) fn enter() -> Done<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(none, BPFFS, Some("bpf"), MsFlags::empty(), none)?;
    fs::create_dir_all("/run/netns")?;
    mount(none, "/run/netns", Some("tmpfs"), MsFlags::empty(), none)?;
    Ok(())
}

/// One node, ready for a way to be made. It takes everything along when it goes.
pub(crate) struct World;

impl World {
    pub(crate) fn new() -> Done<Self> {
        wait_until_empty()?;
        for name in PODS {
            ip(&format!("netns add {name}"))?;
        }
        ip("link set lo up")?;
        ip(
            "link add eni0 address 02:00:00:00:00:0a type veth peer name vpc0 \
            address 02:00:00:00:00:14 netns vpc",
        )?;
        run("ethtool -K eni0 gro on")?;
        ip(&format!("address add {NODE}/24 dev eni0"))?;
        ip("link set eni0 up")?;
        ip(&format!(
            "neighbour add {HOST} lladdr 02:00:00:00:00:14 dev eni0"
        ))?;
        fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1")?;
        in_vpc("ethtool -K vpc0 tso off gso off gro on")?;
        in_vpc(&format!("ip address add {HOST}/24 dev vpc0"))?;
        in_vpc("ip link set vpc0 up")?;
        in_vpc("ip link set lo up")?;
        in_pod("ip link set lo up")?;
        for address in [NODE, POD] {
            in_vpc(&format!(
                "ip neighbour add {address} lladdr 02:00:00:00:00:0a dev vpc0"
            ))?;
        }
        Ok(Self)
    }

    /// A veth into the pod, as the CNI plugin makes it.
    pub(crate) fn veth(&self) -> Done<u32> {
        ip(
            "link add pod0 address 02:00:00:00:01:01 type veth peer name net1 \
            address 02:00:00:00:02:01 netns pod",
        )?;
        ip("link set pod0 up")?;
        in_pod(&format!("ip address add {POD}/32 dev net1"))?;
        in_pod("ip link set net1 up")?;
        in_pod("ip neighbour add 169.254.1.1 lladdr 02:00:00:00:01:01 dev net1")?;
        in_pod("ip route add default via 169.254.1.1 dev net1 onlink")?;
        ip(&format!(
            "neighbour add {POD} lladdr 02:00:00:00:02:01 dev pod0"
        ))?;
        ip(&format!("route add {POD}/32 dev pod0"))?;
        Ok(if_nametoindex("pod0")?)
    }

    /// The pod is at the ENI's link with a MAC address of its own.
    pub(crate) fn on_the_link(&self) -> Done<()> {
        in_pod(&format!("ip address add {POD}/24 dev net1"))?;
        in_pod("ip link set net1 up")?;
        in_pod(&format!(
            "ip neighbour add {HOST} lladdr 02:00:00:00:00:14 dev net1"
        ))?;
        in_vpc(&format!(
            "ip neighbour replace {POD} lladdr 02:00:00:00:02:01 dev vpc0"
        ))
    }

    pub(crate) fn eni(&self) -> Done<u32> {
        Ok(if_nametoindex("eni0")?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What cannot be removed is missed by the next one, which says so.
        let _links = ip("link delete eni0");
        let _links = ip("link delete br0");
        let _links = ip("link delete pod0");
        let _rules = run("iptables -t raw -F");
        let _rules = run("nft delete table netdev bench");
        let _rules = run("nft delete table ip bench");
        for name in PODS {
            let _namespace = ip(&format!("netns delete {name}"));
        }
        let _pins = fs::remove_dir_all(Path::new(BPFFS).join("bench"));
    }
}

/// The kernel takes a namespace's interfaces away some time after the namespace.
fn wait_until_empty() -> Done<()> {
    for _ in 0..500 {
        let links = fs::read_to_string("/proc/thread-self/net/dev")?;
        // Two lines of headings, and the loopback.
        if links.lines().count() <= 3 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err("interfaces of the last way are still there".into())
}

pub(crate) fn pins() -> std::path::PathBuf {
    Path::new(BPFFS).join("bench")
}

/// Does something in a namespace.
pub(crate) fn inside<T: Send>(name: &str, work: impl FnOnce() -> Done<T> + Send) -> Done<T> {
    let file = File::open(format!("/run/netns/{name}"))?;
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            work()
        });
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub(crate) fn ip(words: &str) -> Done<()> {
    run(&format!("ip {words}"))
}

pub(crate) fn in_vpc(words: &str) -> Done<()> {
    ip(&format!("netns exec vpc {words}"))
}

pub(crate) fn in_pod(words: &str) -> Done<()> {
    ip(&format!("netns exec pod {words}"))
}

pub(crate) fn run(line: &str) -> Done<()> {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
