//! A virtual machine that runs a program of this machine under another kernel.
//!
//! QEMU emulates the processor, so no `/dev/kvm` is needed and everything takes several times as
//! long. The machine's root is this machine's own, read-only, below an overlay in memory that goes
//! with it: what runs here runs there, by the same path.
//!
//! Needs the Debian packages `qemu-system-x86 busybox-static cpio kmod xz-utils`, and `apt-get` once
//! for each kernel.

mod initramfs;
mod kernel;

pub use kernel::Kernel;

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// In front of the command's exit code, on a line of its own.
const ENDED: &str = "eniway-vm: ended with ";
/// In front of what the command writes.
const BEGINS: &str = "eniway-vm: begins";

/// What a machine could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Debian has no kernel of the series, or apt's lists are empty.
    #[error("apt knows no kernel linux-image-{series}.*-amd64: run `apt-get update`, on Debian")]
    NoKernel {
        /// Such as `6.1`.
        series: String,
    },
    /// A file of the cache or of a machine could not be used.
    #[error("read or write {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program is missing.
    #[error("start {program} (of the Debian package {package})")]
    Start {
        /// Which one.
        program: &'static str,
        /// Whose.
        package: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A program of the preparation failed.
    #[error("{what}: {status}\n{output}")]
    Failed {
        /// What it was to do.
        what: String,
        /// How it ended.
        status: String,
        /// What it wrote.
        output: String,
    },
    /// The machine did not come to the end of the command.
    #[error(
        "{kernel} did not come to the end of the command, for which it had {deadline:?}; its console:\n{console}"
    )]
    Unfinished {
        /// The kernel's release.
        kernel: String,
        /// The patience.
        deadline: Duration,
        /// All that it wrote.
        console: String,
    },
}

/// A command that ran to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// What it wrote, and what the kernel said meanwhile.
    pub output: String,
}

/// A virtio network card. All of a machine are on one link.
#[derive(Clone, Copy, Debug)]
pub struct Nic {
    /// Its MAC address, as text.
    pub mac: &'static str,
}

impl Nic {
    /// QEMU's arguments for the card with this number.
    fn arguments(self, number: usize) -> [String; 4] {
        let device = format!("virtio-net-pci,netdev=n{number},mac={}", self.mac);
        let link = format!("hubport,id=n{number},hubid=0");
        ["-netdev".to_owned(), link, "-device".to_owned(), device]
    }
}

/// Boots `kernel` with two processors, 2 GiB and `nics`, runs the shell `command` as root, and switches the machine
/// off.
///
/// # Errors
/// [`Error::Unfinished`] with the console when the end was not seen within `deadline`.
pub fn run(
    kernel: &Kernel,
    nics: &[Nic],
    command: &str,
    deadline: Duration,
) -> Result<Ended, Error> {
    let nics = nics.iter().enumerate();
    let nics = nics.flat_map(|(number, nic)| nic.arguments(number));
    let folder = crate::cache::folder().join("vm/run");
    let image = initramfs::write(&folder, kernel, command)?;
    // `timeout` ends the machine even if this process is killed.
    let output = Command::new("timeout")
        .args(["--kill-after=5", &deadline.as_secs().to_string()])
        .arg("qemu-system-x86_64")
        // One thread for both processors: with one each, a kernel that patched its code while the other
        // ran it was seen to die of it (6.12, int3 in sched_clock_cpu).
        .args(["-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max"])
        .args(["-m", "2048", "-smp", "2", "-nodefaults", "-nographic"])
        .args(["-serial", "stdio", "-no-reboot", "-nic", "none"])
        .args(["-append", "console=ttyS0 panic=-1 quiet"])
        .arg("-virtfs")
        .arg("local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap")
        .args(nics)
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(image.path())
        .output()
        .map_err(|source| Error::Start {
            program: "timeout",
            package: "coreutils",
            source,
        })?;
    let console = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    read(&console).ok_or_else(|| Error::Unfinished {
        kernel: kernel.release.clone(),
        deadline,
        console: console + &String::from_utf8_lossy(&output.stderr),
    })
}

/// Finds the command's part of the console.
fn read(console: &str) -> Option<Ended> {
    let (_, told) = console.split_once(BEGINS)?;
    let (output, rest) = told.rsplit_once(ENDED)?;
    let code = rest.lines().next()?.trim().parse().ok()?;
    Some(Ended {
        code,
        output: output.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_part_of_the_console_is_found() {
        let console = "SeaBIOS\n[ 0.1] Linux\neniway-vm: begins\nhello\neniway-vm: ended with 3\n[ 9] Power down\n";
        let ended = read(console).unwrap();
        assert_eq!((ended.code, &*ended.output), (3, "hello"));
        assert_eq!(read("SeaBIOS\nKernel panic"), None);
        assert_eq!(read("eniway-vm: begins\nhello"), None);
    }
}
