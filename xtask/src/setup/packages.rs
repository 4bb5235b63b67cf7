//! Installs the distribution's packages that are missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use self::Witness::{File, Program, PythonModule};
use super::{Need, machine};
use crate::step;
use crate::workspace::{Workspace, find_program};

/// A Debian package, and what shows that it is there, however it came.
struct Package {
    name: &'static str,
    witness: Witness,
    need: Need,
}

enum Witness {
    /// A program in `PATH` or sbin.
    Program(&'static str),
    File(&'static str),
    /// Debian splits Python's standard library.
    PythonModule(&'static str),
}

const fn package(name: &'static str, witness: Witness, need: Need) -> Package {
    Package {
        name,
        witness,
        need,
    }
}

const PACKAGES: &[Package] = &[
    package("gcc", Program("cc"), Need::Rust),
    package("libc6-dev", File("/usr/include/stdlib.h"), Need::Rust),
    package("musl-tools", Program("musl-gcc"), Need::Musl),
    package("iproute2", Program("ip"), Need::Kernel),
    package("ethtool", Program("ethtool"), Need::Kernel),
    package("util-linux", Program("unshare"), Need::Kernel),
    package("containerd", Program("containerd"), Need::Lab),
    package("runc", Program("runc"), Need::Lab),
    package(
        "containernetworking-plugins",
        File("/usr/lib/cni/bridge"),
        Need::Lab,
    ),
    package("iptables", Program("iptables"), Need::Lab),
    package("nftables", Program("nft"), Need::Lab),
    package("dbus", Program("dbus-daemon"), Need::Lab),
    package("systemd", File("/lib/systemd/systemd-networkd"), Need::Lab),
    package("procps", Program("sysctl"), Need::Lab),
    package("busybox-static", Program("busybox"), Need::Lab),
    package("iputils-ping", Program("ping"), Need::Lab),
    package("python3-venv", PythonModule("ensurepip"), Need::Peers),
    package("xdp-tools", Program("xdp-filter"), Need::Peers),
    package("tcpdump", Program("tcpdump"), Need::Peers),
    package("iperf3", Program("iperf3"), Need::Peers),
    package(
        "containernetworking-plugins",
        File("/usr/lib/cni/ptp"),
        Need::Peers,
    ),
    package("iptables", Program("iptables"), Need::Peers),
    package("nftables", Program("nft"), Need::Peers),
    package("qemu-system-x86", Program("qemu-system-x86_64"), Need::Vm),
    package("busybox-static", Program("busybox"), Need::Vm),
    package("udev", File("/lib/systemd/systemd-udevd"), Need::Vm),
    package("cpio", Program("cpio"), Need::Vm),
    package("kmod", Program("depmod"), Need::Vm),
    package("xz-utils", Program("xz"), Need::Vm),
    package("dpdk-dev", Program("dpdk-testpmd"), Need::Dpdk),
    package("make", Program("make"), Need::Dpdk),
];

impl Package {
    fn is_present(&self) -> bool {
        match self.witness {
            Program(name) => find_program(name).is_some(),
            File(path) => Path::new(path).exists(),
            PythonModule(name) => {
                let import = format!("import {name}");
                step::output(Command::new("python3").args(["-c", &import])).is_some()
            }
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
