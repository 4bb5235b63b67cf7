//! Another network namespace of the node, such as a pod's. It ends with its value.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

pub(crate) struct Namespace(Child);

impl Namespace {
    pub(crate) fn new() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self(child);
        let here = fs::read_link("/proc/thread-self/ns/net").unwrap();
        while fs::read_link(this.path()).is_ok_and(|there| there == here) {
            thread::sleep(Duration::from_millis(10));
        }
        this
    }

    /// A process in it.
    pub(crate) fn process(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.process())
    }

    /// Does something there.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).unwrap();
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
