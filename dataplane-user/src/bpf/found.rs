//! Remembers in bpffs what an interface had before the agent changed it, and which name the agent gave it.
//!
//! A bpffs holds no files. A symbolic link is made in one step, and any text can be its target.

use std::{collections::BTreeMap, fs, io, os::unix::fs::symlink, path::PathBuf};

use super::{
    Error,
    pins::{self, Pins},
};
use crate::sysctl::Sysctl;

/// What the agent changes of an interface, and gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// Bytes, without the Ethernet header.
    Mtu,
    /// Channels in use.
    Channels,
    /// A setting in /proc/sys/net.
    Sysctl(Sysctl),
}

/// The folder of alternative names.
const NAME: &str = "name";

impl Pins {
    /// What is remembered, by ENI.
    pub(super) fn found(&self, setting: Setting) -> Result<BTreeMap<String, u32>, Error> {
        let folder = self.remembered(setting);
        let mut found = BTreeMap::new();
        for eni in pins::names(&folder)? {
            let path = folder.join(&eni);
            let target = fs::read_link(&path).map_err(pins::failed("read", &path))?;
            // What nobody of ours wrote says nothing.
            if let Some(value) = target.to_str().and_then(|text| text.parse().ok()) {
                found.insert(eni, value);
            }
        }
        Ok(found)
    }

    /// Remembers `value`; what is there already stays, because it was found earlier.
    pub(super) fn keep(&self, setting: Setting, eni: &str, value: u32) -> Result<(), Error> {
        pins::check_name(eni)?;
        let folder = self.remembered(setting);
        pins::create(&folder)?;
        let path = folder.join(eni);
        match symlink(value.to_string(), &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(pins::failed("create", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Forgets it.
    pub(super) fn forget(&self, setting: Setting, eni: &str) -> Result<(), Error> {
        pins::unpin(&self.remembered(setting).join(eni))
    }

    /// The alternative name that each ENI's interface was given.
    pub(super) fn names_given(&self) -> Result<BTreeMap<String, String>, Error> {
        let folder = self.root().join(NAME);
        let mut given = BTreeMap::new();
        for eni in pins::names(&folder)? {
            let path = folder.join(&eni);
            let target = fs::read_link(&path).map_err(pins::failed("read", &path))?;
            given.insert(eni, target.to_string_lossy().into_owned());
        }
        Ok(given)
    }

    /// Remembers a name that is about to be given, in the place of another.
    pub(super) fn keep_name(&self, eni: &str, name: &str) -> Result<(), Error> {
        pins::check_name(eni)?;
        pins::create(&self.root().join(NAME))?;
        let path = self.root().join(NAME).join(eni);
        pins::unpin(&path)?;
        symlink(name, &path).map_err(pins::failed("create", &path))
    }

    /// Forgets it.
    pub(super) fn forget_name(&self, eni: &str) -> Result<(), Error> {
        pins::unpin(&self.root().join(NAME).join(eni))
    }

    fn remembered(&self, setting: Setting) -> PathBuf {
        self.root().join(match setting {
            Setting::Mtu => "mtu",
            Setting::Channels => "channels",
            Setting::Sysctl(sysctl) => sysctl.as_str(),
        })
    }
}
