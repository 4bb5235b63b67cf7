//! Remembers in bpffs the MTU that an interface had before the agent changed it.
//!
//! A bpffs holds no files. A symbolic link is made in one step, and any text can be its target.

use std::{collections::BTreeMap, fs, io, os::unix::fs::symlink, path::PathBuf};

use super::{
    Error,
    pins::{self, Pins},
};

impl Pins {
    /// What is remembered, by ENI.
    pub(super) fn found_mtus(&self) -> Result<BTreeMap<String, u32>, Error> {
        let folder = self.mtus();
        let mut found = BTreeMap::new();
        for eni in pins::names(&folder)? {
            let path = folder.join(&eni);
            let target = fs::read_link(&path).map_err(pins::failed("read", &path))?;
            // What nobody of ours wrote says nothing.
            if let Some(mtu) = target.to_str().and_then(|text| text.parse().ok()) {
                found.insert(eni, mtu);
            }
        }
        Ok(found)
    }

    /// Remembers `mtu`; what is there already stays, because it was found earlier.
    pub(super) fn keep_mtu(&self, eni: &str, mtu: u32) -> Result<(), Error> {
        pins::check_name(eni)?;
        pins::create(&self.mtus())?;
        let path = self.mtus().join(eni);
        match symlink(mtu.to_string(), &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(pins::failed("create", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Forgets it.
    pub(super) fn forget_mtu(&self, eni: &str) -> Result<(), Error> {
        pins::unpin(&self.mtus().join(eni))
    }

    fn mtus(&self) -> PathBuf {
        self.root().join("mtu")
    }
}
