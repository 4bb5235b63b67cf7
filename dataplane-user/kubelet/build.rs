//! Turns the kubelet's two APIs into Rust, without protoc.

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    for file in ["deviceplugin.proto", "podresources.proto"] {
        let files = protox::compile([file], ["proto"]).with_context(|| format!("read {file}"))?;
        tonic_prost_build::configure()
            .compile_fds(files)
            .with_context(|| format!("write Rust for {file}"))?;
    }
    Ok(())
}
