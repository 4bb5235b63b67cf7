//! The first file system of a machine: busybox, the modules that it takes to see the host's files, and
//! what to do then.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Error;
use super::Kernel;
use super::debian::{file, output};
use crate::cache;

/// What the machine needs to see the host's files, and what a node has.
const MODULES: [&str; 10] = [
    "virtio_pci",
    "9p",
    "9pnet_virtio",
    "overlay",
    "virtio_net",
    "veth",
    "macvlan",
    "ipvlan",
    "sch_ingress",
    "cls_bpf",
];
const INIT: &str = include_str!("init.sh");

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A written file system, in a folder of its own; both go with this value.
#[derive(Debug)]
pub(super) struct Image(PathBuf);

impl Image {
    pub(super) fn path(&self) -> PathBuf {
        self.0.join("initramfs")
    }

    /// A place for what else belongs to the machine.
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // What stays is in the cache, and goes before another takes its place.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A script of the shell's, and the name by which others find it.
pub(super) type Script<'a> = (&'static str, &'a str);

/// Writes the file system of a machine that loads `modules` beside its own and runs the script `run`, or what `systemd`
/// makes of it.
pub(super) fn write(
    kernel: &Kernel,
    modules: &[&str],
    scripts: &[Script<'_>],
) -> Result<Image, Error> {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}", std::process::id());
    let image = Image(cache::folder().join("vm/run").join(name));
    // What a process of the same number left when it was killed.
    let _ = fs::remove_dir_all(image.folder());
    let root = image.0.join("root");
    for name in [
        "bin", "modules", "host", "over", "new", "proc", "sys", "dev",
    ] {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(file(&path))?;
    }
    copy(&busybox(), &root.join("bin/busybox"))?;
    add(&root.join("init"), INIT)?;
    for (name, text) in scripts {
        add(&root.join(name), text)?;
    }
    let mut files = Vec::new();
    for module in MODULES.iter().chain(modules) {
        let more = kernel.module(module)?;
        files.extend(more);
    }
    let mut loaded: Vec<PathBuf> = Vec::new();
    for path in files {
        if !loaded.contains(&path) {
            let target = root.join(format!("modules/{:02}.ko", loaded.len()));
            unpack(&path, &target)?;
            loaded.push(path);
        }
    }
    pack(&root, &image.path())?;
    Ok(image)
}

fn busybox() -> PathBuf {
    let places = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from);
    let found = places.iter().find(|path| path.is_file());
    found.unwrap_or(&places[0]).clone()
}

fn add(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(file(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(file(path))
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map(|_| ()).map_err(file(from))
}

/// Newer kernels come with packed modules, which busybox does not read.
fn unpack(from: &Path, to: &Path) -> Result<(), Error> {
    if from.extension().is_none_or(|extension| extension != "xz") {
        return copy(from, to);
    }
    let target = File::create(to).map_err(file(to))?;
    let mut xz = Command::new("xz");
    xz.args(["--decompress", "--stdout"]).arg(from);
    let done = xz.stdin(Stdio::null()).stdout(target).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::Failed {
            what: format!("unpack {}", from.display()),
            status: status.to_string(),
            output: String::new(),
        }),
        Err(source) => Err(Error::Start {
            program: "xz",
            package: "xz-utils",
            source,
        }),
    }
}

fn pack(root: &Path, to: &Path) -> Result<(), Error> {
    let mut cpio = Command::new("sh");
    let script = r#"cd "$1" && find . | cpio --quiet --create --format=newc --owner=0:0 > "$2""#;
    cpio.args(["-euc", script, "sh"]).arg(root).arg(to);
    output("pack the first file system", &mut cpio, "sh", "cpio").map(|_| ())
}
