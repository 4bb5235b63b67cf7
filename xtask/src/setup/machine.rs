//! Finds what only a person can mend: rights, disk, kernel, compilers of other languages.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use super::{Need, Obstacle};
use crate::step;
use crate::workspace::Workspace;

/// What a first run writes: cargo's target folder, Go's build cache, Kubernetes' programs.
const FIRST_RUN_GIB: u64 = 12;
/// What a later run may still add.
const LATER_RUN_GIB: u64 = 4;
/// The oldest Go that builds the pinned Kubernetes.
const GO_MINOR: u32 = 25;

/// What stands in the way before anything has been installed.
pub(super) fn obstacles(workspace: &Workspace, needs: &[Need]) -> Vec<Obstacle> {
    let root = needs.contains(&Need::Root).then(missing_root);
    let disk = needs.contains(&Need::Lab).then(|| missing_disk(workspace));
    let go = needs.contains(&Need::Lab).then(|| missing_go(workspace));
    [root, disk, go].into_iter().flatten().flatten().collect()
}

/// What the kernel lacks.
pub(super) fn kernel_obstacles(needs: &[Need]) -> Vec<Obstacle> {
    if !needs.contains(&Need::Kernel) {
        return Vec::new();
    }
    [missing_bpffs(), missing_veth()]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn missing_root() -> Option<Obstacle> {
    (!is_root()).then(|| {
        obstacle(
            "root",
            "namespaces and BPF need it; run the same command with `sudo -E env PATH=$PATH`",
        )
    })
}

fn missing_disk(workspace: &Workspace) -> Option<Obstacle> {
    let built = workspace.cache.join("bin").is_dir();
    let wanted = if built { LATER_RUN_GIB } else { FIRST_RUN_GIB };
    let existing = workspace
        .target
        .ancestors()
        .find(|folder| folder.is_dir())?;
    let mut df = Command::new("df");
    let text = step::output(df.args(["--output=avail", "--block-size=1G"]).arg(existing))?;
    let free: u64 = text.lines().nth(1)?.trim().parse().ok()?;
    (free < wanted).then(|| {
        obstacle(
            &format!(
                "disk: {free} GiB free at {}, {wanted} wanted",
                existing.display()
            ),
            "free some, or point CARGO_TARGET_DIR and XDG_CACHE_HOME at a larger disk",
        )
    })
}

/// Go builds Kubernetes' own programs, once; those that are there need no compiler.
fn missing_go(workspace: &Workspace) -> Option<Obstacle> {
    let built = fs::read_dir(workspace.cache.join("bin")).is_ok_and(|folder| folder.count() >= 3);
    if built {
        return None;
    }
    let cure = "install Go 1.26 from https://go.dev/dl and put it on PATH";
    let Some(version) = step::output(Command::new("go").args(["env", "GOVERSION"])) else {
        return Some(obstacle("go", cure));
    };
    let recent = go_minor(version.trim()).is_none_or(|minor| minor >= GO_MINOR);
    (!recent).then(|| {
        obstacle(
            &format!("go 1.{GO_MINOR} or newer, not {}", version.trim()),
            cure,
        )
    })
}

/// 26 of `go1.26.8`; nothing for a development version.
fn go_minor(version: &str) -> Option<u32> {
    version
        .strip_prefix("go1.")?
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn missing_bpffs() -> Option<Obstacle> {
    let known = fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.lines().any(|line| line.trim_end().ends_with("\tbpf")));
    (!known).then(|| {
        obstacle(
            "the kernel's bpf filesystem",
            "use a kernel with CONFIG_BPF_SYSCALL (any distribution's since 5.15)",
        )
    })
}

/// Tries it in a network namespace that ends with the try.
fn missing_veth() -> Option<Obstacle> {
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--net", "ip", "link", "add", "eniway0", "type", "veth", "peer", "name", "eniway1",
    ]);
    let made = step::output(&mut unshare).is_some();
    (!made).then(|| {
        let container = if Path::new("/.dockerenv").exists() {
            "start the container with --privileged"
        } else {
            "use a kernel with CONFIG_NET_NS and CONFIG_VETH (`modprobe veth`)"
        };
        obstacle("network namespaces with veth", container)
    })
}

fn obstacle(what: &str, cure: &str) -> Obstacle {
    Obstacle {
        what: what.to_owned(),
        cure: cure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::go_minor;

    #[test]
    fn go_versions_are_read() {
        assert_eq!(go_minor("go1.26.8"), Some(26));
        assert_eq!(go_minor("go1.27rc1"), Some(27));
        assert_eq!(go_minor("devel go1.28-abcdef"), None);
    }
}
