//! Tells bpf-linker, which generates the code, that it may read where nothing is aligned.

use std::env;

/// Without it LLVM puts every address together from bytes. x86-64 and arm64 read any address of a
/// packet or a map at once, and the verifier knows; of the stack it wants aligned reads everywhere.
const FEATURES: &str = "--cpu-features=+allows-misaligned-mem-access";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_CFG_TARGET_ARCH").is_some_and(|arch| arch == "bpf") {
        println!("cargo::rustc-link-arg-bins={FEATURES}");
    }
}
