//! Builds the programs that tests run, and says where they are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// Where the programs are, once they are built by this process.
static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);

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
    built().join(package)
}

/// An example of some package, built as [`binary`] is.
///
/// # Panics
///
/// When it does not compile.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    built().join("examples").join(name)
}

/// The folder of the programs, which are built at the first call.
fn built() -> PathBuf {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.get_or_insert_with(build).clone()
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    // The test is <target>/<profile>/deps/it-<hash>.
    let profile = test.ancestors().nth(2).expect("deps lies in the profile");
    let target = profile.parent().expect("the profile lies in the target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--workspace", "--exclude", "xtask"])
        .args(["--bins", "--tests", "--examples"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("the cargo that built this test runs");
    assert!(status.success(), "the programs do not compile");
    profile.to_owned()
}
