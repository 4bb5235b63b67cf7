//! A node and a host of its VPC, joined by a veth pair, in namespaces that go with the test. Needs root.

mod namespace;

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use eniway_agent::bpf::{Guard, GuardConfig, Mode, WantedIngress};
use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};

pub(crate) use self::namespace::Namespace;

pub(crate) const ENI: &str = "eni-0123456789abcdef0";

/// The ENI's address.
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
/// One that the node's interface has too, but the ENI has not.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 11);
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 20);
const PORT: u16 = 7000;

/// The node's side, seen by the thread that runs the test.
pub(crate) struct World {
    /// A bpffs of the test's own.
    pub(crate) bpffs: PathBuf,
    /// Receives what is sent to the node.
    pub(crate) node: UdpSocket,
    /// Receives what is sent to the host.
    pub(crate) host: UdpSocket,
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

/// Runs a test in a namespace of its own, on a thread of its own, which takes the namespace along.
pub(crate) fn in_world(mtu: u32, test: impl FnOnce(&World) + Send + 'static) {
    let result = thread::Builder::new()
        .name("node".to_owned())
        .spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .expect("root may unshare; this test needs root");
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let folder = tempfile::tempdir().unwrap();
            mount(none, folder.path(), Some("bpf"), MsFlags::empty(), none).unwrap();
            let world = World::new(folder.path(), mtu);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&world)));
            drop(world);
            nix::mount::umount(folder.path()).unwrap();
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        })
        .unwrap()
        .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

impl World {
    fn new(bpffs: &Path, mtu: u32) -> Self {
        let (jobs, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (sender, host) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            sender.send(nix::unistd::gettid()).unwrap();
            todo.into_iter().for_each(|job| job());
        });
        let peer = host.recv().unwrap();
        plug(peer, mtu);
        let (sender, sockets) = mpsc::channel();
        jobs.send(Box::new(move || {
            set_up_host();
            sender.send(socket(HOST)).unwrap();
        }))
        .unwrap();
        Self {
            bpffs: bpffs.to_owned(),
            host: sockets.recv().unwrap(),
            node: socket(Ipv4Addr::UNSPECIFIED),
            jobs,
        }
    }

    /// The interface's present index.
    pub(crate) fn ifindex(&self) -> u32 {
        if_nametoindex("eni0").unwrap()
    }

    /// Takes the ENI's interface away and plugs another.
    pub(crate) fn replug(&self) {
        ip("link del eni0");
        let (sender, peer) = mpsc::channel();
        self.jobs
            .send(Box::new(move || {
                sender.send(nix::unistd::gettid()).unwrap();
            }))
            .unwrap();
        plug(peer.recv().unwrap(), 1500);
        let (sender, done) = mpsc::channel();
        self.jobs
            .send(Box::new(move || {
                set_up_host();
                sender.send(()).unwrap();
            }))
            .unwrap();
        done.recv().unwrap();
    }

    /// Sets the MTU of the host's interface, which is what a veth asks its peer for.
    pub(crate) fn set_host_mtu(&self, mtu: u32) {
        self.on_host(move || ip(&format!("link set vpc0 mtu {mtu}")));
    }

    /// Does something in the host's namespace.
    pub(crate) fn on_host<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, done) = mpsc::channel();
        let job = move || sender.send(job()).unwrap();
        self.jobs.send(Box::new(job)).unwrap();
        done.recv().unwrap()
    }

    /// Sends to one of the node's addresses.
    pub(crate) fn send_to(&self, address: Ipv4Addr, text: &str) {
        self.host.send_to(text.as_bytes(), (address, PORT)).unwrap();
    }

    /// Tells which of two datagrams, one to a stranger and then one to the ENI, arrive.
    pub(crate) fn arriving(&self) -> Vec<String> {
        self.send_to(STRANGER, "stranger");
        self.send_to(OWN, "own");
        until_own(&self.node)
    }

    /// Tells which of two datagrams, one from a stranger and then one from the ENI, leave.
    pub(crate) fn leaving(&self) -> Vec<String> {
        for (source, text) in [(STRANGER, "stranger"), (OWN, "own")] {
            let socket = UdpSocket::bind((source, 0)).unwrap();
            // What the guard drops is an error to the sender (ENOBUFS).
            let _dropped = socket.send_to(text.as_bytes(), (HOST, PORT));
        }
        until_own(&self.host)
    }
}

/// What the tests attach, by the mode of the check and where it runs.
pub(crate) fn guard(ingress: WantedIngress, mode: Mode) -> Guard {
    Guard {
        ingress,
        config: GuardConfig {
            mac: [0x02, 0, 0, 0, 0, 0x0a],
            mode,
            source_dest_check: true,
            addresses: vec!["10.0.1.10/32".parse().unwrap()],
            subnets: vec!["10.0.1.0/24".parse().unwrap()],
        },
        steering: Vec::new(),
    }
}

/// Runs `ip` in this thread's namespace.
pub(crate) fn ip(arguments: &str) -> String {
    iproute("ip", arguments)
}

/// In this thread's network, as `ip`.
pub(crate) fn tc(arguments: &str) -> String {
    iproute("tc", arguments)
}

fn iproute(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .expect("iproute2 is installed");
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn plug(peer: nix::unistd::Pid, mtu: u32) {
    ip("link set lo up");
    ip(&format!(
        "link add eni0 mtu {mtu} address 02:00:00:00:00:0a type veth \
         peer name vpc0 mtu {mtu} address 02:00:00:00:00:14 netns {peer}"
    ));
    ip(&format!("addr add {OWN}/24 dev eni0"));
    ip(&format!("addr add {STRANGER}/24 dev eni0"));
    ip("link set eni0 up");
    // The host's MAC is known, so that no question stands between a datagram and its way.
    ip(&format!(
        "neigh add {HOST} lladdr 02:00:00:00:00:14 dev eni0"
    ));
}

fn set_up_host() {
    ip(&format!("addr add {HOST}/24 dev vpc0"));
    ip("link set vpc0 up");
    for address in [OWN, STRANGER] {
        ip(&format!(
            "neigh add {address} lladdr 02:00:00:00:00:0a dev vpc0"
        ));
    }
}

fn socket(address: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((address, PORT)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

/// What a socket receives, up to the datagram that no guard stops.
fn until_own(socket: &UdpSocket) -> Vec<String> {
    let mut received = Vec::new();
    while received.last().is_none_or(|text| text != "own") {
        let mut buffer = [0; 64];
        let (length, _) = socket
            .recv_from(&mut buffer)
            .unwrap_or_else(|error| panic!("the ENI's own datagram is lost: {error}"));
        received.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    received
}
