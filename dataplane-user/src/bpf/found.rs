//! Remembers in bpffs what an interface had before the agent changed it, which name the agent gave it, and which device it
//! was.
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

/// What is written down of an ENI, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The alternative name that its interface was given.
    Name,
    /// Which PCI function it was before DPDK got it.
    Device,
}

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

    /// What is written down, by ENI.
    pub(super) fn notes(&self, note: Note) -> Result<BTreeMap<String, String>, Error> {
        let folder = self.written(note);
        let mut notes = BTreeMap::new();
        for eni in pins::names(&folder)? {
            let path = folder.join(&eni);
            let target = fs::read_link(&path).map_err(pins::failed("read", &path))?;
            notes.insert(eni, target.to_string_lossy().into_owned());
        }
        Ok(notes)
    }

    /// Writes `text` down, in the place of another.
    pub(super) fn keep_note(&self, note: Note, eni: &str, text: &str) -> Result<(), Error> {
        pins::check_name(eni)?;
        let folder = self.written(note);
        pins::create(&folder)?;
        let path = folder.join(eni);
        pins::unpin(&path)?;
        symlink(text, &path).map_err(pins::failed("create", &path))
    }

    /// Forgets it.
    pub(super) fn forget_note(&self, note: Note, eni: &str) -> Result<(), Error> {
        pins::unpin(&self.written(note).join(eni))
    }

    fn written(&self, note: Note) -> PathBuf {
        self.root().join(match note {
            Note::Name => "name",
            Note::Device => "device",
        })
    }

    fn remembered(&self, setting: Setting) -> PathBuf {
        self.root().join(match setting {
            Setting::Mtu => "mtu",
            Setting::Channels => "channels",
            Setting::Sysctl(sysctl) => sysctl.as_str(),
        })
    }
}
