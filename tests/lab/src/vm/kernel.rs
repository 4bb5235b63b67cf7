//! Kernels of Debian, fetched once by apt and unpacked beside each other; none is installed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::debian::{file, output, unpack};
use super::{Error, noiommu};
use crate::cache;

/// A kernel with its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// As `uname -r` says, such as `6.1.0-56-amd64`.
    pub release: String,
    /// Its package, unpacked.
    folder: PathBuf,
    /// What is loaded instead of its own module.
    vfio: Option<PathBuf>,
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
        let _turn = turn(&cache)?;
        if !folder.is_dir() {
            progress(&format!("fetching Debian's kernel {release}"));
            fetch(&cache, &release, &folder)?;
        }
        Ok(Self {
            release,
            folder,
            vfio: None,
        })
    }

    /// This kernel with `CONFIG_VFIO_NOIOMMU`, as Bottlerocket's has it and Debian's has not: vfio can be told to
    /// let devices go where nothing keeps them off the memory of others.
    ///
    /// The first time its module is built, from some 150 MB of sources.
    ///
    /// # Errors
    /// What fails while it is built.
    pub fn with_noiommu(self, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        let cache = cache::folder().join("vm");
        let module = cache.join(format!("{}.noiommu/vfio.ko", self.release));
        let _turn = turn(&cache)?;
        if !module.is_file() {
            progress(&format!("building vfio of {} anew", self.release));
            noiommu::build(&cache, &self.release, &module)?;
        }
        let vfio = Some(module);
        Ok(Self { vfio, ..self })
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
        Ok(paths
            .map(|path| match &self.vfio {
                Some(vfio) if is_module(&path, "vfio") => vfio.clone(),
                _ => modules.join(path),
            })
            .collect())
    }
}

/// One process at a time fetches and builds; the turn ends with the value.
fn turn(cache: &Path) -> Result<File, Error> {
    fs::create_dir_all(cache).map_err(file(cache))?;
    let lock = cache.join("lock");
    let turn = File::create(&lock).map_err(file(&lock))?;
    turn.lock().map_err(file(&lock))?;
    Ok(turn)
}

fn is_module(path: &str, name: &str) -> bool {
    let file = Path::new(path).file_name().and_then(OsStr::to_str);
    file.is_some_and(|file| file.split('.').next() == Some(name))
}

/// What the lines `path: path …` say of a module: the deepest need first, the module last.
fn dependencies(list: &str, name: &str) -> Vec<String> {
    let mut lines = list.lines().filter_map(|line| line.split_once(':'));
    let Some((path, needs)) = lines.find(|(path, _)| is_module(path, name)) else {
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
    unpack(&[format!("linux-image-{release}")], &partial)?;
    let mut depmod = Command::new("depmod");
    depmod.arg("--basedir").arg(&partial).arg(release);
    output("list the modules", &mut depmod, "depmod", "kmod")?;
    fs::rename(&partial, folder).map_err(file(folder))
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
