//! Puts the plugin where the container runtime looks for it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::config::CNI_PLUGIN;

/// A copy that failed.
#[derive(Debug, thiserror::Error)]
#[error("copy this program to {path}", path = .path.display())]
pub struct Error {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Copies this program into `folder`. A runtime that calls the plugin meanwhile finds the old one or the new one,
/// and whole.
pub fn install(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join(CNI_PLUGIN);
    let part = folder.join(format!(".{CNI_PLUGIN}.part"));
    let copy = || {
        fs::copy("/proc/self/exe", &part)?;
        fs::set_permissions(&part, fs::Permissions::from_mode(0o755))?;
        fs::rename(&part, &path)
    };
    match copy() {
        Ok(()) => Ok(path),
        Err(source) => Err(Error { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_copied_whole_and_may_be_run() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let path = install(folder.path()).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o755);
            assert_eq!(
                metadata.len(),
                fs::metadata("/proc/self/exe").unwrap().len()
            );
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = install(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.to_string(), "copy this program to /nowhere/eniway");
    }
}
