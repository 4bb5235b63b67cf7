//! Builds the programs that tests run, and says where they are.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// The programs built so far in this process.
static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// The program of the package `package` that bears its name, built now if need be.
///
/// Cargo tells a test where a program lies only within one package; so it is built into the folder
/// from which the test itself runs, and with the same choice of packages as `cargo xtask test` has:
/// what its dependencies enable is the same then, and nothing is compiled twice.
///
/// # Panics
///
/// When it does not compile.
#[must_use]
pub fn binary(package: &str) -> PathBuf {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let program = built
        .entry(package.to_owned())
        .or_insert_with(|| build(package));
    program.clone()
}

fn build(package: &str) -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    // The test is <target>/<profile>/deps/it-<hash>.
    let profile = test.ancestors().nth(2).expect("deps lies in the profile");
    let target = profile.parent().expect("the profile lies in the target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--workspace", "--exclude", "xtask"])
        .args(["--bins", "--tests"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("the cargo that built this test runs");
    assert!(status.success(), "{package} does not compile");
    profile.join(package)
}
