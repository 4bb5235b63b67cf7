//! Writes container images without Docker: `docker save` archives of one layer.
//!
//! `ctr -n k8s.io images import FILE` takes them.

mod base;
mod tarball;

pub use base::{BUSYBOX, PAUSE, write_base};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use tarball::{Entry, hex, tarball};

/// Why an image was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that goes into the image.
    #[error("read {path} for the image {reference}")]
    Read {
        /// Of which image.
        reference: String,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The archive.
    #[error("write the image {reference} to {path}")]
    Write {
        /// Which image.
        reference: String,
        /// The archive.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// An image of one layer, in memory.
#[derive(Clone, Debug)]
pub struct Image {
    reference: String,
    entrypoint: Vec<String>,
    command: Vec<String>,
    entries: Vec<(String, Entry)>,
}

/// Writes an image with an executable for each `(path in the image, file on the host)`.
///
/// The files should be static binaries: there is nothing else in the image but empty folders and
/// `/etc/passwd`.
pub fn write_image(
    path: &Path,
    reference: &str,
    entrypoint: &[&str],
    files: &[(&str, &Path)],
) -> Result<(), Error> {
    files
        .iter()
        .try_fold(
            Image::new(reference).entrypoint(entrypoint),
            |image, (inside, file)| image.executable(inside, file),
        )?
        .write(path)
}

impl Image {
    /// An image with the empty folders that programs expect.
    pub fn new(reference: &str) -> Self {
        let folders = [
            "bin", "etc", "proc", "root", "run", "sys", "dev", "var", "www",
        ];
        let mut image = Self {
            reference: reference.to_owned(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            entries: folders
                .map(|folder| (folder.to_owned(), Entry::Directory))
                .into(),
        };
        image.entries.push(("tmp".to_owned(), Entry::Directory));
        image
            .file(
                "etc/passwd",
                b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65532:65532:nobody:/:/bin/false\n",
            )
            .file("etc/group", b"root:x:0:\nnobody:x:65532:\n")
    }

    /// What runs in a container of it.
    pub fn entrypoint(mut self, entrypoint: &[&str]) -> Self {
        self.entrypoint = entrypoint.iter().map(ToString::to_string).collect();
        self
    }

    /// What runs unless the pod says otherwise.
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(ToString::to_string).collect();
        self
    }

    /// Adds a small file.
    pub fn file(mut self, path: &str, contents: &[u8]) -> Self {
        self.entries.push((
            path.to_owned(),
            Entry::File {
                contents: contents.to_vec(),
                mode: 0o644,
            },
        ));
        self
    }

    /// Adds a symbolic link.
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.entries.push((
            path.to_owned(),
            Entry::Link {
                target: target.to_owned(),
            },
        ));
        self
    }

    /// Adds an executable that is read from the host.
    pub fn executable(mut self, path: &str, file: &Path) -> Result<Self, Error> {
        let contents = fs::read(file).map_err(|source| Error::Read {
            reference: self.reference.clone(),
            path: file.to_path_buf(),
            source,
        })?;
        // Docker's layers carry no leading slash, and a folder comes before what is in it.
        let path = path.trim_start_matches('/');
        let mut folders: Vec<&Path> = Path::new(path)
            .ancestors()
            .skip(1)
            .filter(|p| !p.as_os_str().is_empty())
            .collect();
        folders.reverse();
        for folder in folders {
            let folder = folder.to_string_lossy().into_owned();
            if !self.entries.iter().any(|(known, _)| *known == folder) {
                self.entries.push((folder, Entry::Directory));
            }
        }
        self.entries.push((
            path.to_owned(),
            Entry::File {
                contents,
                mode: 0o755,
            },
        ));
        Ok(self)
    }

    /// Writes the archive.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write {
            reference: self.reference.clone(),
            path: path.to_path_buf(),
            source,
        };
        let archive = self.archive().map_err(failed)?;
        fs::write(path, archive).map_err(failed)
    }

    fn archive(&self) -> io::Result<Vec<u8>> {
        let layer = tarball(&self.entries)?;
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Env": ["PATH=/usr/bin:/bin"], "Entrypoint": self.entrypoint, "Cmd": self.command},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
            "history": [{"created_by": "eniway lab"}],
        })
        .to_string()
        .into_bytes();
        let config_name = format!("{}.json", hex(&config));
        let manifest =
            json!([{"Config": config_name, "RepoTags": [self.reference], "Layers": ["layer.tar"]}]);
        let file = |contents: Vec<u8>| Entry::File {
            contents,
            mode: 0o644,
        };
        tarball(&[
            ("layer.tar".to_owned(), file(layer)),
            (config_name, file(config)),
            (
                "manifest.json".to_owned(),
                file(manifest.to_string().into_bytes()),
            ),
        ])
    }
}

/// Rust's name of the architecture in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            (entry.path().unwrap().display().to_string(), contents)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn an_image_carries_its_executable_and_the_hash_of_its_layer() {
        let image = Image::new("registry.local/x:1").entrypoint(&["/usr/bin/x"]);
        let image = image
            .executable("/usr/bin/x", Path::new("/proc/self/exe"))
            .unwrap();
        let archive = image.archive().unwrap();
        let [(_, layer), (_, config), (_, manifest)] = files(&archive).try_into().unwrap();
        let config = String::from_utf8(config).unwrap();
        assert!(
            config.contains(&format!("sha256:{}", hex(&layer))),
            "{config}"
        );
        assert!(
            String::from_utf8(manifest)
                .unwrap()
                .contains("registry.local/x:1")
        );
        let names: Vec<String> = files(&layer).into_iter().map(|(name, _)| name).collect();
        let place = |wanted: &str| names.iter().position(|name| name == wanted).unwrap();
        assert!(
            place("usr") < place("usr/bin") && place("usr/bin") < place("usr/bin/x"),
            "{names:?}"
        );
    }

    #[test]
    fn the_same_image_is_the_same_bytes() {
        let image = Image::new("registry.local/x:1")
            .file("etc/x", b"x")
            .link("bin/x", "y");
        assert_eq!(image.archive().unwrap(), image.archive().unwrap());
    }
}
