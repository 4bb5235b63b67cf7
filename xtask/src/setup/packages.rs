//! Installs the distribution's packages that are missing.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Need, machine};
use crate::step;
use crate::workspace::{Workspace, find_program};

/// A Debian package, and a program of it by which one sees that it is there, however it came.
struct Package {
    name: &'static str,
    witness: &'static str,
    need: Need,
}

const fn package(name: &'static str, witness: &'static str, need: Need) -> Package {
    Package {
        name,
        witness,
        need,
    }
}

const PACKAGES: &[Package] = &[
    package("gcc", "cc", Need::Rust),
    package("libc6-dev", "/usr/include/stdlib.h", Need::Rust),
    package("musl-tools", "musl-gcc", Need::Musl),
    package("iproute2", "ip", Need::Kernel),
    package("util-linux", "unshare", Need::Kernel),
    package("containerd", "containerd", Need::Lab),
    package("runc", "runc", Need::Lab),
    package(
        "containernetworking-plugins",
        "/usr/lib/cni/bridge",
        Need::Lab,
    ),
    package("iptables", "iptables", Need::Lab),
    package("procps", "sysctl", Need::Lab),
    package("busybox-static", "busybox", Need::Lab),
    package("iputils-ping", "ping", Need::Lab),
    package("xdp-tools", "xdp-filter", Need::Peers),
];

impl Package {
    fn is_present(&self) -> bool {
        if self.witness.starts_with('/') {
            Path::new(self.witness).exists()
        } else {
            find_program(self.witness).is_some()
        }
    }
}

pub(super) fn install(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|package| needs.contains(&package.need) && !package.is_present())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if find_program("apt-get").is_none() {
        bail!(
            "these packages (Debian's names) are missing, and there is no apt-get: install {names}"
        );
    }
    if !machine::is_root() {
        bail!("these packages are missing: run `sudo apt-get install {names}`");
    }
    let apt = |arguments: &[&str]| {
        let mut apt = workspace.command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive")
            .arg("-qq")
            .args(arguments);
        apt
    };
    // Old lists may still do; that the packages cannot be had is what counts.
    if let Err(error) = step::run("refreshing apt's lists", &mut apt(&["update"])) {
        eprintln!("warning: {error:#}");
    }
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    step::run(&format!("installing {names}"), install.args(&missing))
}
