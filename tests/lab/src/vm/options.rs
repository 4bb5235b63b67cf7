//! What a machine is like, and how QEMU is told.

use std::path::Path;

use super::initramfs::Script;
use super::ports::{PORTS, port};

/// This host, as seen from a machine's primary card.
pub const HOST: &str = "10.0.2.2";
/// What QEMU expects that card to be.
const PRIMARY_ADDRESS: &str = "10.0.2.15/24";
/// Takes the host's commands.
const SERVE: Script<'_> = ("run", include_str!("serve.sh"));
/// Has systemd start that.
const HAND_OVER: Script<'_> = ("systemd", include_str!("systemd.sh"));
/// It neither asks who starts it first nor brings Debian's files up to date.
const SYSTEMD: &str = "systemd.firstboot=off systemd.condition-needs-update=0";

/// What a machine is like.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether Intel's IOMMU is there, and on, as it can be on bare metal; other instances of EC2 have none.
    pub iommu: bool,
    /// Modules that are loaded at each start, beside those that every machine has.
    pub modules: &'static [&'static str],
    /// The MAC address of a card that reaches this host's 127.0.0.1 as [`HOST`], if it is to have one.
    pub primary: Option<String>,
    /// Whether Debian's systemd is its first process, with Debian's own units and none of this machine's.
    pub systemd: bool,
}

impl Options {
    /// Words for the kernel.
    pub(super) fn boot(&self) -> String {
        let words = [(self.iommu, "intel_iommu=on"), (self.systemd, SYSTEMD)];
        let words = words.into_iter().filter(|(is_wanted, _)| *is_wanted);
        words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
    }

    /// What runs in it at each start.
    pub(super) fn scripts(&self) -> &'static [Script<'static>] {
        match self.systemd {
            true => &[SERVE, HAND_OVER],
            false => &[SERVE],
        }
    }

    /// What QEMU is told beside what every machine has.
    pub(super) fn arguments(&self, folder: &Path) -> Vec<String> {
        let at = |name: &str| folder.join(name).display().to_string();
        let shared = at("shared");
        let share = format!("local,path={shared},mount_tag=machine,security_model=none");
        let mut all = vec![
            ("-serial", format!("file:{}", at("console"))),
            (
                "-chardev",
                format!("socket,id=control,path={}", at("control")),
            ),
            ("-serial", "chardev:control".to_owned()),
            ("-chardev", format!("socket,id=qmp,path={}", at("qmp"))),
            ("-mon", "chardev=qmp,mode=control".to_owned()),
            ("-virtfs", share),
        ];
        if self.iommu {
            // Interrupts can be remapped only where the kernel's own controller is not in use.
            all.push(("-M", "q35,kernel-irqchip=split".to_owned()));
            all.push(("-device", "intel-iommu,intremap=on".to_owned()));
        } else {
            all.push(("-M", "q35".to_owned()));
        }
        for number in 0..PORTS {
            let id = port(number);
            let port = format!("pcie-root-port,id={id},slot={number},chassis={number}");
            all.push(("-device", port));
        }
        let primary = self.primary.as_ref();
        let primary = primary.map(|mac| format!("user,model=virtio-net-pci,mac={mac}"));
        all.push(("-nic", primary.unwrap_or_else(|| "none".to_owned())));
        let words = all.into_iter();
        words
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect()
    }
}

/// The shell's words that give the primary card its address: by any name, which udev may be about to change.
pub(super) fn set_up(mac: &str) -> String {
    format!(
        "for attempt in $(seq 100); do
            name=$(basename $(dirname $(grep -l {mac} /sys/class/net/*/address)))
            ip address replace {PRIMARY_ADDRESS} dev $name && ip link set $name up && exit
            sleep 0.2
        done
        exit 1"
    )
}
