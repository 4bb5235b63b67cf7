//! How QEMU is started and ended: what all machines have in common.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::debian::file;
use super::{Error, Kernel};

/// QEMU with two processors and 2 GiB, and this machine's files, read-only.
///
/// It ends after `deadline`, and before that with the thread that starts it.
pub(super) fn command(kernel: &Kernel, image: &Path, boot: &str, deadline: Duration) -> Command {
    let mut command = Command::new("setpriv");
    // The signal is `timeout`'s, which passes it on.
    command.args(["--pdeathsig", "TERM", "timeout", "--kill-after=5"]);
    command
        .arg(deadline.as_secs().to_string())
        .arg("qemu-system-x86_64");
    command
        // One thread for both processors: with one each, a kernel that patched its code while the other
        // ran it was seen to die of it (6.12, int3 in sched_clock_cpu).
        .args(["-accel", "tcg,thread=single", "-cpu", "max"])
        .args(["-m", "2048", "-smp", "2", "-nodefaults", "-nographic"])
        .args(["-append", &format!("console=ttyS0 panic=-1 quiet {boot}")])
        .arg("-virtfs")
        .arg("local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap")
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(image);
    command
}

/// A QEMU that runs beside; it ends with this value.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts a [`command`], which writes what it has to say to `log`.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self, Error> {
        let output = File::create(log).map_err(file(log))?;
        let again = output.try_clone().map_err(file(log))?;
        let command = command.stdin(Stdio::null()).stdout(output).stderr(again);
        command.spawn().map(Self).map_err(missing)
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not a kill: `timeout` could not pass that on. It has a kill of its own for a QEMU that stays.
        if let Ok(id) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}

/// There is no way to start it.
pub(super) fn missing(source: std::io::Error) -> Error {
    Error::Start {
        program: "setpriv",
        package: "util-linux",
        source,
    }
}
