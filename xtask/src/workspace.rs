//! Where things are: the repository, the build folder, the cache.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folders of this checkout and of this user.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// The repository.
    pub(crate) root: PathBuf,
    /// What cargo builds, and what we build beside it.
    pub(crate) target: PathBuf,
    /// What is kept for the next checkout: Kubernetes' programs, Python packages.
    pub(crate) cache: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("xtask is a folder of the repository")
            .to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cache")))
            .unwrap_or_else(|| "/var/cache".into());
        Self {
            // An absolute CARGO_TARGET_DIR replaces the root.
            target: root.join(target),
            cache: cache.join("eniway"),
            root,
        }
    }

    /// A command that starts in the repository, where rust-toolchain.toml governs.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            // cargo sets this for what it runs; it would overrule rust-toolchain.toml.
            .env_remove("RUSTUP_TOOLCHAIN");
        command
    }

    /// Cargo, of the toolchain of this repository.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = if has_rustup() {
            self.command("cargo")
        } else {
            self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        };
        cargo.args(arguments);
        cargo
    }

    /// `chart` below the repository.
    pub(crate) fn chart(&self) -> PathBuf {
        self.root.join("charts/eniway")
    }
}

/// The version of everything in this repository.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Rust's name of this machine's architecture with musl, for static binaries.
pub(crate) fn musl_target() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

/// Whether toolchains are rustup's; a distribution's Rust has none.
pub(crate) fn has_rustup() -> bool {
    find_program("rustup").is_some()
}

/// The program's path: from `PATH`, and from sbin, which a user's `PATH` may lack.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}
