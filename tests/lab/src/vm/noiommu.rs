//! Builds the module vfio of a Debian kernel with `CONFIG_VFIO_NOIOMMU`.
//!
//! The option changes nothing that other modules see, so that the kernel takes the module for its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Error;
use super::debian::{file, output, unpack};

/// Beside what every module is built with. What lies in folders of its own is left as Debian has built it.
const MAKE: [&str; 8] = [
    "KCFLAGS=-DCONFIG_VFIO_NOIOMMU=1",
    "CONFIG_VFIO_PCI=n",
    "CONFIG_VFIO_PCI_CORE=n",
    "CONFIG_VFIO_PLATFORM=n",
    "CONFIG_VFIO_PLATFORM_BASE=n",
    "CONFIG_VFIO_FSL_MC=n",
    "CONFIG_VFIO_CDX=n",
    "CONFIG_VFIO_MDEV=n",
];

/// Builds it in the folder of `module`, of which only that stays.
pub(super) fn build(cache: &Path, release: &str, module: &Path) -> Result<(), Error> {
    let partial = cache.join(format!("{release}.noiommu.partial"));
    // What an earlier try left.
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(file(&partial))?;
    let headers = format!("linux-headers-{release}");
    let mut packages = needed(&headers)?;
    packages.extend([headers.clone(), source(release)]);
    unpack(&packages, &partial)?;

    let sources = partial.join("usr/src");
    let archive = sources.join(format!("{}.tar.xz", source(release)));
    let mut tar = Command::new("tar");
    tar.arg("--directory").arg(&partial).arg("--extract");
    tar.arg("--file").arg(&archive);
    tar.args(["--strip-components=2", "--wildcards", "*/drivers/vfio/*"]);
    output("unpack the sources of vfio", &mut tar, "tar", "tar")?;

    // It names a file by the place where the package would be installed.
    let makefile = sources.join(&headers).join("Makefile");
    let text = fs::read_to_string(&makefile).map_err(file(&makefile))?;
    let text = text.replace("/usr/src", &sources.display().to_string());
    fs::write(&makefile, text).map_err(file(&makefile))?;

    let mut make = Command::new("make");
    make.arg("--directory").arg(sources.join(&headers));
    make.arg(format!("M={}", partial.join("vfio").display()));
    make.args(MAKE).arg("modules");
    output("build the module vfio", &mut make, "make", "make")?;
    let folder = module.parent().unwrap_or(cache);
    fs::create_dir_all(folder).map_err(file(folder))?;
    fs::rename(partial.join("vfio/vfio.ko"), module).map_err(file(module))?;
    fs::remove_dir_all(&partial).map_err(file(&partial))
}

/// The package with the sources of a release: `linux-source-6.1` for `6.1.0-56-amd64`.
fn source(release: &str) -> String {
    let series: Vec<&str> = release.split('.').take(2).collect();
    format!("linux-source-{}", series.join("."))
}

/// The other packages of the kernel that the headers build on; the compiler is this machine's.
fn needed(headers: &str) -> Result<Vec<String>, Error> {
    let mut depends = Command::new("apt-cache");
    depends.args(["depends", "--important", headers]);
    let list = output("ask what headers need", &mut depends, "apt-cache", "apt")?;
    let names = list.lines().filter_map(|line| line.split_once(": "));
    let names = names.map(|(_, name)| name.trim().to_owned());
    let ours = ["linux-headers-", "linux-kbuild-"];
    Ok(names
        .filter(|name| ours.iter().any(|start| name.starts_with(start)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_of_a_series() {
        assert_eq!(source("6.1.0-56-amd64"), "linux-source-6.1");
        assert_eq!(source("6.12.117+deb12-amd64"), "linux-source-6.12");
    }
}
