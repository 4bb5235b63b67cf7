//! The folders in bpffs: which exist, who may be named there, how they go.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use eniway_abi::LAYOUT_VERSION;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::Error;

/// The folder of pins.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Opens the folder, and makes it if the file system is a bpffs.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        // The folder itself may be missing yet; what it would be made in tells.
        let there = root
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or_else(|| Path::new("/"));
        let is_bpffs = statfs(there).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC);
        if !is_bpffs {
            return Err(Error::NotBpffs {
                path: root.to_owned(),
            });
        }
        let pins = Self {
            root: root.to_owned(),
        };
        create(&root.join("links"))?;
        create(&pins.layout())?;
        Ok(pins)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the links of an ENI are.
    pub(super) fn links(&self, eni: &str) -> PathBuf {
        self.root.join("links").join(eni)
    }

    /// Where the maps of an ENI are, of this build's layout.
    pub(super) fn maps(&self, eni: &str) -> PathBuf {
        self.layout().join(eni)
    }

    /// Makes an ENI's folders.
    pub(super) fn create(&self, eni: &str) -> Result<(), Error> {
        check_name(eni)?;
        create(&self.links(eni))?;
        create(&self.maps(eni))
    }

    /// Every ENI that has a folder, of links or of maps.
    pub(super) fn enis(&self) -> Result<BTreeSet<String>, Error> {
        let mut enis = BTreeSet::new();
        for folder in [vec![self.root.join("links")], self.layouts()?].concat() {
            enis.extend(names(&folder)?);
        }
        Ok(enis)
    }

    /// Removes an ENI's folders with all that is in them.
    pub(super) fn remove(&self, eni: &str) -> Result<(), Error> {
        remove(&self.links(eni))?;
        for layout in self.layouts()? {
            remove(&layout.join(eni))?;
        }
        Ok(())
    }

    /// Where the maps of an ENI are that an agent with another layout has made.
    pub(super) fn other_layouts(&self, eni: &str) -> Result<Vec<PathBuf>, Error> {
        let all = self.layouts()?.into_iter();
        let others = all.filter(|layout| *layout != self.layout());
        Ok(others.map(|layout| layout.join(eni)).collect())
    }

    /// Removes them, once nothing uses them.
    pub(super) fn remove_other_layouts(&self, eni: &str) -> Result<(), Error> {
        let others = self.other_layouts(eni)?;
        others.iter().try_for_each(|folder| remove(folder))
    }

    fn layout(&self) -> PathBuf {
        self.root.join("maps").join(format!("v{LAYOUT_VERSION}"))
    }

    fn layouts(&self) -> Result<Vec<PathBuf>, Error> {
        let maps = self.root.join("maps");
        Ok(names(&maps)?
            .into_iter()
            .map(|name| maps.join(name))
            .collect())
    }
}

/// Refuses what cannot be a name here: bpffs reserves dots, and a slash would leave the folder.
pub(super) fn check_name(eni: &str) -> Result<(), Error> {
    let is_name = !eni.is_empty()
        && eni
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some(()).ok_or_else(|| Error::Name {
        eni: eni.to_owned(),
    })
}

/// The names in a folder; none if it is missing.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("read", folder))?,
    };
    entries
        .map(|entry| {
            let entry = entry.map_err(failed("read", folder))?;
            Ok(entry.file_name().to_string_lossy().into_owned())
        })
        .collect()
}

/// Removes a pin; a missing one is success.
pub(super) fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("unpin", path)(error)),
        _ => Ok(()),
    }
}

/// Names the attempt and the file.
pub(super) fn failed(attempt: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Pin {
        attempt,
        path: path.to_owned(),
        source,
    }
}

/// Makes a folder and those above it.
pub(super) fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(failed("create", folder))
}

/// Removes a folder of pins; a missing one is success.
pub(super) fn remove(folder: &Path) -> Result<(), Error> {
    for name in names(folder)? {
        unpin(&folder.join(name))?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
