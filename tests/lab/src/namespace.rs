//! The door to Linux namespaces: an init process holds them open, threads enter them to work there.

mod command;

pub use command::Command;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::Error;

/// What a thread unshares for a new set of namespaces; the pid namespace is left to unshare(1),
/// because a thread that has entered one cannot make another below it.
const UNSHARED: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWUTS);

/// Process 1 of the new namespaces. It waits on a pipe that only we hold: when we end, by whatever
/// cause, `cat` ends, process 1 ends, and the kernel kills everything else in there. The shell
/// stays around `cat` because it also reaps orphans.
const INIT: &str = "mount -t proc proc /proc && echo ready && cat > /dev/null; exit 0";

/// The namespaces (mount, net, pid and UTS) of the control plane, of a node or of a host.
///
/// Cheap to clone. Does not keep the processes inside alive: `Holder` does.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    /// Mount first: entering it needs nothing from the others, and they are open already.
    files: [(CloneFlags, File); 4],
}

/// Where the network namespace is among the files.
const NET: usize = 1;

impl Namespace {
    /// The name it was made with, such as `node1`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs `work` on a thread that is inside.
    ///
    /// Sockets opened there stay there, and processes started there are born there; both can be
    /// used from anywhere afterwards. The working directory is `/`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| self.enter().map(|()| work()));
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self, program)
    }

    /// A UDP socket inside, bound to `address`.
    pub fn udp_bind(&self, address: impl ToSocketAddrs + Send) -> io::Result<UdpSocket> {
        self.run(|| UdpSocket::bind(address))
            .map_err(io::Error::other)?
    }

    /// A TCP listener inside, bound to `address`.
    pub fn tcp_bind(&self, address: impl ToSocketAddrs + Send) -> io::Result<TcpListener> {
        self.run(|| TcpListener::bind(address))
            .map_err(io::Error::other)?
    }

    /// A TCP connection that starts inside.
    pub fn tcp_connect(&self, address: impl ToSocketAddrs + Send) -> io::Result<TcpStream> {
        self.run(|| TcpStream::connect(address))
            .map_err(io::Error::other)?
    }

    /// Its network namespace as an open file, for `ip … netns /proc/self/fd/0`.
    pub(crate) fn net(&self) -> Result<File, Error> {
        let failed = |source| Error::File {
            path: format!("the network namespace of {}", self.0.name).into(),
            source,
        };
        self.0.files[NET].1.try_clone().map_err(failed)
    }

    fn enter(&self) -> Result<(), Error> {
        let failed = |source: nix::Error| Error::Enter {
            namespace: self.0.name.clone(),
            source,
        };
        // A thread may leave its mount namespace only once it shares its working directory with no other.
        unshare(CloneFlags::CLONE_FS).map_err(failed)?;
        self.0
            .files
            .iter()
            .try_for_each(|(kind, file)| setns(file, *kind))
            .map_err(failed)
    }

    /// Opens the namespaces of a process, and the pid namespace that it has made.
    fn of(pid: u32, name: &str) -> Result<Self, Error> {
        let open = |kind: CloneFlags, file: &str| {
            let path = format!("/proc/{pid}/ns/{file}");
            File::open(&path)
                .map(|open| (kind, open))
                .map_err(|source| Error::File {
                    path: path.into(),
                    source,
                })
        };
        let files = [
            open(CloneFlags::CLONE_NEWNS, "mnt")?,
            open(CloneFlags::CLONE_NEWNET, "net")?,
            open(CloneFlags::CLONE_NEWUTS, "uts")?,
            open(CloneFlags::CLONE_NEWPID, "pid_for_children")?,
        ];
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            files,
        })))
    }
}

/// Keeps a set of namespaces alive; when it is dropped, all processes inside are killed.
#[derive(Debug)]
pub(crate) struct Holder {
    namespace: Namespace,
    init: Child,
    /// Never written to; its closing is the signal.
    _alive: ChildStdin,
}

impl Holder {
    /// Makes new namespaces below `parent`, or below ours, and brings `lo` up.
    pub(crate) fn new(name: &str, parent: Option<&Namespace>) -> Result<Self, Error> {
        let start = || -> Result<Child, Error> {
            let failed = |source: nix::Error| Error::Unshare {
                namespace: name.to_owned(),
                source,
            };
            if parent.is_none() {
                unshare(CloneFlags::CLONE_FS).map_err(failed)?;
            }
            unshare(UNSHARED).map_err(failed)?;
            let private = MsFlags::MS_REC.union(MsFlags::MS_PRIVATE);
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(failed)?;
            nix::unistd::sethostname(name).map_err(failed)?;
            std::process::Command::new("unshare")
                .args(["--pid", "--fork", "--kill-child", "--", "sh", "-c", INIT])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // A Ctrl-C at the terminal is for us; it reaches the lab by way of the pipe.
                .process_group(0)
                .spawn()
                .map_err(|source| Error::Spawn {
                    program: "unshare".to_owned(),
                    source,
                })
        };
        let mut init = match parent {
            Some(parent) => parent.run(start)??,
            None => thread::scope(|scope| scope.spawn(start).join())
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
        };
        let alive = init.stdin.take().expect("the standard input is a pipe");
        let output = init.stdout.take().expect("the standard output is a pipe");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .map_err(|source| Error::File {
                path: "the output of init".into(),
                source,
            })?;
        let ready = line.trim() == "ready";
        let namespace = if ready {
            Namespace::of(init.id(), name)
        } else {
            Err(Error::Init {
                namespace: name.to_owned(),
            })
        };
        let namespace = namespace.inspect_err(|_| {
            let _ = init.kill();
            let _ = init.wait();
        })?;
        let holder = Self {
            namespace,
            init,
            _alive: alive,
        };
        holder
            .namespace
            .command("ip")
            .args(["link", "set", "lo", "up"])
            .read()?;
        Ok(holder)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The process that has the namespaces, as the host counts.
    pub(crate) fn pid(&self) -> u32 {
        self.init.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}
