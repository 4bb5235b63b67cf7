//! Writes a container image of one program, as `docker save` does.
//!
//! The same program always gives the same bytes: no time, no owner, no order of a folder is in it.

use std::env;
use std::io::{self, Write};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::workspace::VERSION;

/// An image with a static program and nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    /// Name and tag.
    pub(crate) reference: &'a str,
    /// The program's name; it lies in the root folder.
    pub(crate) program: &'a str,
    pub(crate) contents: &'a [u8],
    /// `user:group` that it runs as.
    pub(crate) user: &'a str,
}

pub(crate) fn write(image: &Image<'_>, to: impl Write) -> io::Result<()> {
    let layer = layer(image)?;
    let config = config(image, &digest(&layer)).to_string();
    let config_name = format!("{}.json", digest(config.as_bytes()));
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [image.reference],
        "Layers": ["layer.tar"],
    }]);
    let mut archive = tar::Builder::new(to);
    append(&mut archive, "layer.tar", 0o644, &layer)?;
    append(&mut archive, &config_name, 0o644, config.as_bytes())?;
    append(
        &mut archive,
        "manifest.json",
        0o644,
        manifest.to_string().as_bytes(),
    )?;
    archive.into_inner()?.flush()
}

fn layer(image: &Image<'_>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, image.program, 0o755, image.contents)?;
    archive.into_inner()
}

/// The image's configuration, by the OCI specification.
fn config(image: &Image<'_>, layer: &str) -> serde_json::Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": [format!("/{}", image.program)],
            // `kubectl exec … -- eniway-agent monitor` finds it by its name.
            "Env": ["PATH=/"],
            "User": image.user,
            "Labels": {
                "org.opencontainers.image.title": image.program,
                "org.opencontainers.image.version": VERSION,
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        "history": [{"created_by": "cargo xtask image"}],
    })
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    mode: u32,
    contents: &[u8],
) -> io::Result<()> {
    // A new header is all zero: owner and time, too.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(mode);
    header.set_size(contents.len() as u64);
    archive.append_data(&mut header, path, contents)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Rust's name of the architecture in Go's words.
fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, write};

    fn archive() -> Vec<u8> {
        let image = Image {
            reference: "eniway/agent:1",
            program: "agent",
            contents: b"ELF",
            user: "0:0",
        };
        let mut bytes = Vec::new();
        write(&image, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_same_program_gives_the_same_bytes() {
        assert_eq!(archive(), archive());
    }

    #[test]
    fn the_manifest_names_what_is_there() {
        let mut files: Vec<(String, String)> = Vec::new();
        let bytes = archive();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = Vec::new();
            std::io::copy(&mut entry, &mut text).unwrap();
            files.push((path, String::from_utf8_lossy(&text).into_owned()));
        }
        let (_, manifest) = files.last().unwrap();
        let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap();
        let config_name = manifest[0]["Config"].as_str().unwrap();
        let (_, config) = files.iter().find(|(path, _)| path == config_name).unwrap();
        let config: serde_json::Value = serde_json::from_str(config).unwrap();
        assert_eq!(config["config"]["Entrypoint"][0], "/agent");
        assert_eq!(config["config"]["User"], "0:0");
        assert!(
            files
                .iter()
                .any(|(path, _)| path == manifest[0]["Layers"][0].as_str().unwrap())
        );
    }
}
