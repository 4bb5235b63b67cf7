//! Shows every BPF program to this kernel's verifier, for `cargo xtask build-ebpf`. Needs root.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;

use eniway_agent::bpf::verify;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "   {:<16} {:<16} {:>12} {:>12}",
        "object", "program", "walked", "machine code"
    );
    for verified in verify()? {
        let walked = verified
            .instructions
            .map_or_else(|| "-".to_owned(), |count| count.to_string());
        println!(
            "   {:<16} {:<16} {walked:>12} {:>10} B",
            verified.object, verified.program, verified.jited
        );
    }
    Ok(())
}
