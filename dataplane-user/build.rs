//! Builds the BPF objects that `src/bpf/object.rs` embeds.
//!
//! The inner build is the only one that may use unstable features (`-Z build-std`); the outer
//! toolchain stays a stable one. `AYA_BUILD_SKIP=1` leaves empty objects, for a look at the rest
//! where bpf-linker is missing.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use aya_build::{Package, Toolchain};

/// What rust-toolchain.toml names. `rustup run`, which aya-build uses, does not look there.
const TOOLCHAIN: &str = "1.95.0";

const OBJECTS: [&str; 3] = ["dataplane", "dataplane-frags", "baseline"];

fn main() -> anyhow::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=AYA_BUILD_SKIP");
    if env::var_os("AYA_BUILD_SKIP").is_some_and(|skip| skip == "1" || skip == "true") {
        for name in OBJECTS {
            fs::write(out.join(name), b"").with_context(|| format!("write an empty {name}"))?;
        }
        return Ok(());
    }
    share_target_folder(&out)?;
    let log = env::var_os("CARGO_FEATURE_BPF_LOG").is_some();
    // SAFETY: a build script has one thread until it starts another.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    aya_build::build_ebpf(
        [Package {
            name: "eniway-ebpf",
            root_dir: concat!(env!("CARGO_MANIFEST_DIR"), "/../dataplane-ebpf"),
            features: if log { &["log"] } else { &[] },
            ..Package::default()
        }],
        Toolchain::Custom(TOOLCHAIN),
    )
    .context("build the BPF objects; this needs `cargo install bpf-linker` and `rustup component add rust-src`")
}

/// Lets all profiles share one folder.
///
/// aya-build keeps its target folder in `OUT_DIR`, so that check, test, clippy and release would each
/// build core and all the rest anew, 20 s a time.
fn share_target_folder(out: &Path) -> anyhow::Result<()> {
    // OUT_DIR is target[/TRIPLE]/PROFILE/build/PACKAGE-HASH/out.
    let shared = out
        .ancestors()
        .nth(4)
        .context("OUT_DIR lies four folders deep")?
        .join("aya-build");
    fs::create_dir_all(&shared).with_context(|| format!("create {}", shared.display()))?;
    let link = out.join("aya-build");
    match symlink(&shared, &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("link {}", link.display()))
        }
        _ => Ok(()),
    }
}
