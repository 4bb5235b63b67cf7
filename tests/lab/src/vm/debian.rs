//! Packages of Debian, unpacked without being installed, and the programs that prepare a machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;

/// Fetches packages and unpacks them over each other in `folder`, which has nothing but folders.
pub(super) fn unpack(packages: &[String], folder: &Path) -> Result<(), Error> {
    let mut download = Command::new("apt-get");
    download.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]);
    download.args(packages).current_dir(folder);
    let what = format!("download {}", packages.join(" "));
    output(&what, &mut download, "apt-get", "apt")?;
    let entries = fs::read_dir(folder).map_err(file(folder))?;
    let entries = entries.flatten().map(|entry| entry.path());
    let archives: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    for archive in archives {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(&archive).arg(folder);
        let what = format!("unpack {}", archive.display());
        output(&what, &mut unpack, "dpkg-deb", "dpkg")?;
        fs::remove_file(&archive).map_err(file(&archive))?;
    }
    Ok(())
}

pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

/// Runs a program of the preparation and gives what it wrote.
pub(super) fn output(
    what: &str,
    command: &mut Command,
    program: &'static str,
    package: &'static str,
) -> Result<String, Error> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|source| Error::Start {
        program,
        package,
        source,
    })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(Error::Failed {
        what: what.to_owned(),
        status: done.status.to_string(),
        output: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}
