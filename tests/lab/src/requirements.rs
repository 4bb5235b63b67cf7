//! What must be on the machine before a lab can start, and who is missing.

use std::path::Path;

use crate::config::{Config, NodeKind};
use crate::error::Error;

/// A program and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The program's file name.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// Whether only nodes with a kubelet need it.
    pub for_kubelets: bool,
}

const fn always(program: &'static str, package: &'static str) -> Requirement {
    Requirement {
        program,
        package,
        for_kubelets: false,
    }
}

const fn for_kubelets(program: &'static str, package: &'static str) -> Requirement {
    Requirement {
        program,
        package,
        for_kubelets: true,
    }
}

const ALL: [Requirement; 11] = [
    always("ip", "iproute2"),
    always("mount", "mount"),
    always("unshare", "util-linux"),
    always("find", "findutils"),
    for_kubelets("busybox", "busybox-static"),
    for_kubelets("containerd", "containerd"),
    for_kubelets("ctr", "containerd"),
    for_kubelets("runc", "runc"),
    for_kubelets("bridge", "containernetworking-plugins"),
    for_kubelets("iptables", "iptables"),
    for_kubelets("sysctl", "procps"),
];

/// Folders of programs, with those of sbin and of the CNI plugins, whatever `PATH` says.
const FOLDERS: [&str; 7] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/lib/cni",
];

/// All programs the lab takes from the machine (others it builds: see [`crate::binaries`]).
pub fn requirements() -> &'static [Requirement] {
    &ALL
}

/// Those that are not there.
pub fn missing() -> Vec<Requirement> {
    ALL.into_iter()
        .filter(|requirement| !requirement.is_present())
        .collect()
}

impl Requirement {
    /// Whether the program is in one of the usual folders.
    pub fn is_present(&self) -> bool {
        // iproute2 has a program called bridge, too; the CNI plugin is the one that is meant.
        let folders = if self.program == "bridge" {
            &FOLDERS[6..]
        } else {
            &FOLDERS[..]
        };
        folders
            .iter()
            .any(|folder| Path::new(folder).join(self.program).is_file())
    }
}

pub(crate) fn check(config: &Config) -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let kubelets = config
        .nodes
        .iter()
        .any(|node| node.kind == NodeKind::Kubelet);
    let missing: Vec<Requirement> = missing()
        .into_iter()
        .filter(|one| kubelets || !one.for_kubelets)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let join = |name: fn(&Requirement) -> &'static str| {
        missing.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    Err(Error::Missing {
        programs: join(|one| one.program),
        packages: join(|one| one.package),
    })
}
