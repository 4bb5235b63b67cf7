//! Virtual machines that run programs of this machine under another kernel: [`run`] for one command,
//! [`Machine`] for a conversation, with hardware that comes and goes.
//!
//! QEMU emulates the processor, so no `/dev/kvm` is needed and everything takes several times as
//! long. The machine's root is this machine's own, read-only, below an overlay in memory that goes
//! with it: what runs here runs there, by the same path.
//!
//! Needs the Debian packages `qemu-system-x86` (7.2 or newer for a [`Machine`]), `busybox-static cpio kmod
//! xz-utils`, and `apt-get` once for each kernel; [`Kernel::with_noiommu`] needs `gcc make`, too.

mod card;
mod control;
mod debian;
mod error;
mod initramfs;
mod instance;
mod kernel;
mod lines;
mod machine;
mod noiommu;
mod options;
mod ports;
mod qemu;
mod qmp;

pub use card::{Card, Model};
pub use control::Job;
pub use error::Error;
pub use instance::Instance;
pub use kernel::Kernel;
pub use machine::Machine;
pub use options::{HOST, Options};

use std::time::Duration;

/// In front of the command's exit code, on a line of its own.
const ENDED: &str = "eniway-vm: ended with ";
/// In front of what the command writes.
const BEGINS: &str = "eniway-vm: begins";

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
    let script = format!("echo '{BEGINS}'\n(\n{command}\n)\necho '{ENDED}'$?\n");
    let image = initramfs::write(kernel, &[], &[("run", &script)])?;
    let mut qemu = qemu::command(kernel, &image.path(), "", deadline);
    qemu.args(["-M", "q35", "-serial", "stdio", "-no-reboot"]);
    let output = qemu.args(["-nic", "none"]).args(nics).output();
    let output = output.map_err(qemu::missing)?;
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
