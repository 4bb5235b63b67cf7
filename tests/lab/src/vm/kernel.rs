//! Kernels of Debian, fetched once by apt and unpacked beside each other; none is installed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;
use crate::cache;

/// A kernel with its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// As `uname -r` says, such as `6.1.0-56-amd64`.
    pub release: String,
    /// Its package, unpacked.
    folder: PathBuf,
}

impl Kernel {
    /// The newest kernel of a series, such as `6.1`, that apt knows of.
    ///
    /// The first time it is fetched, some 60 to 100 MB. Processes that want the same one take turns.
    ///
    /// # Errors
    /// [`Error::NoKernel`] when apt knows none, and what fails while it is unpacked.
    pub fn find(series: &str, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        let release = newest(series)?;
        let cache = cache::folder().join("vm");
        let folder = cache.join(&release);
        fs::create_dir_all(&cache).map_err(file(&cache))?;
        let lock = cache.join("lock");
        let lock = File::create(&lock).map_err(file(&lock))?;
        lock.lock().map_err(file(&cache))?;
        if !folder.is_dir() {
            progress(&format!("fetching Debian's kernel {release}"));
            fetch(&cache, &release, &folder)?;
        }
        Ok(Self { release, folder })
    }

    pub(super) fn image(&self) -> PathBuf {
        self.folder.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// The files of a module and of what it needs, in the order in which they are loaded; none if it is
    /// built in, or not there.
    pub(super) fn module(&self, name: &str) -> Result<Vec<PathBuf>, Error> {
        let modules = self.folder.join("lib/modules").join(&self.release);
        let list = modules.join("modules.dep");
        let list = fs::read_to_string(&list).map_err(file(&list))?;
        let paths = dependencies(&list, name).into_iter();
        Ok(paths.map(|path| modules.join(path)).collect())
    }
}

/// What the lines `path: path …` say of a module: the deepest need first, the module last.
fn dependencies(list: &str, name: &str) -> Vec<String> {
    let is_it = |path: &str| {
        let file = Path::new(path).file_name().and_then(OsStr::to_str);
        file.is_some_and(|file| file.split('.').next() == Some(name))
    };
    let mut lines = list.lines().filter_map(|line| line.split_once(':'));
    let Some((path, needs)) = lines.find(|(path, _)| is_it(path)) else {
        return Vec::new();
    };
    let needs = needs.split_whitespace().rev();
    needs.chain([path]).map(ToOwned::to_owned).collect()
}

fn newest(series: &str) -> Result<String, Error> {
    let pattern = format!("^linux-image-{}\\..*-amd64$", series.replace('.', "\\."));
    let mut search = Command::new("apt-cache");
    search.args(["search", "--names-only", &pattern]);
    let found = output("search for a kernel", &mut search, "apt-cache", "apt")?;
    let releases = found.lines().filter_map(|line| {
        let package = line.split_whitespace().next()?;
        let release = package.strip_prefix("linux-image-")?;
        // Those for clouds have no 9p, those for real time another scheduler.
        let flavoured = ["-cloud-amd64", "-rt-amd64"];
        (!flavoured.iter().any(|flavour| release.ends_with(flavour))).then_some(release)
    });
    let newest = releases.max_by_key(|release| numbers(release));
    newest
        .map(ToOwned::to_owned)
        .ok_or_else(|| Error::NoKernel {
            series: series.to_owned(),
        })
}

/// The numbers of `6.12.117+deb12-amd64`, which compare as versions do.
fn numbers(release: &str) -> Vec<u32> {
    let words = release.split(|character: char| !character.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

fn fetch(cache: &Path, release: &str, folder: &Path) -> Result<(), Error> {
    let partial = cache.join(format!("{release}.partial"));
    // What an earlier try left.
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(file(&partial))?;
    let package = format!("linux-image-{release}");
    let mut download = Command::new("apt-get");
    download.args(["-qq", "-o", "APT::Sandbox::User=root", "download", &package]);
    download.current_dir(&partial);
    output(
        &format!("download {package}"),
        &mut download,
        "apt-get",
        "apt",
    )?;
    let archive = fs::read_dir(&partial).map_err(file(&partial))?;
    let archive = archive.flatten().map(|entry| entry.path()).next();
    let archive = archive.unwrap_or_default();
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--extract").arg(&archive).arg(&partial);
    output(
        &format!("unpack {package}"),
        &mut unpack,
        "dpkg-deb",
        "dpkg",
    )?;
    fs::remove_file(&archive).map_err(file(&archive))?;
    let mut depmod = Command::new("depmod");
    depmod.arg("--basedir").arg(&partial).arg(release);
    output("list the modules", &mut depmod, "depmod", "kmod")?;
    fs::rename(&partial, folder).map_err(file(folder))
}

pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_by_their_numbers() {
        assert!(numbers("6.12.117+deb12-amd64") > numbers("6.12.99+deb12-amd64"));
        assert!(numbers("6.1.0-56-amd64") > numbers("6.1.0-9-amd64"));
    }

    #[test]
    fn what_a_module_needs_comes_before_it() {
        let list = "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n\
                    kernel/net/9p/9pnet.ko.xz:\n";
        let expected = [
            "kernel/fs/netfs/netfs.ko.xz",
            "kernel/net/9p/9pnet.ko.xz",
            "kernel/fs/9p/9p.ko.xz",
        ];
        assert_eq!(dependencies(list, "9p"), expected);
        assert_eq!(dependencies(list, "overlay"), [""; 0]);
    }
}
