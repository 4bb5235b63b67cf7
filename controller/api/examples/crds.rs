//! Prints the custom resource definitions as YAML, for `cargo xtask crds`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", eniway_api::crds::yaml()?);
    Ok(())
}
