//! A layer as a tar archive, and its hash.

use std::io;

use sha2::{Digest as _, Sha256};

/// An entry of an image's layer.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Directory,
    File { contents: Vec<u8>, mode: u32 },
    Link { target: String },
}

/// The same entries always give the same bytes.
pub(super) fn tarball(entries: &[(String, Entry)]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in entries {
        let mut header = tar::Header::new_gnu();
        let set = |header: &mut tar::Header, kind, mode, size| {
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(size);
        };
        match entry {
            Entry::Directory => {
                set(
                    &mut header,
                    tar::EntryType::Directory,
                    if path == "tmp" { 0o1777 } else { 0o755 },
                    0,
                );
                archive.append_data(&mut header, path, io::empty())?;
            }
            Entry::File { contents, mode } => {
                set(
                    &mut header,
                    tar::EntryType::Regular,
                    *mode,
                    contents.len() as u64,
                );
                archive.append_data(&mut header, path, contents.as_slice())?;
            }
            Entry::Link { target } => {
                set(&mut header, tar::EntryType::Symlink, 0o777, 0);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    archive.into_inner()
}

/// Its SHA-256, as images name their parts.
pub(super) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
