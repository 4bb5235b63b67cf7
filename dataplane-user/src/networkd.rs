//! The door to systemd-networkd: files that tell it which interfaces are not its to configure.
//!
//! It reads them when it is told to reload, by whoever does: the agent, where it may use the system bus, or
//! ec2-net-utils, which does for each interface that comes. A file is there before its interface, as soon as EC2 has told
//! the MAC address.

mod bus;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use eniway_api::{EniId, MacAddress};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::apply::Chain;

/// Ours are before everybody's: the first file that matches an interface counts.
const PREFIX: &str = "10-eniway-";
const SUFFIX: &str = ".network";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("remove {}", path.display())]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Its files, and the bus on which it listens.
#[derive(Clone, Debug)]
pub struct Networkd {
    runtime: PathBuf,
    bus: PathBuf,
}

impl Networkd {
    /// `runtime` is systemd's folder in /run, and `bus` the system bus's socket; where that is not, nobody is told to reload.
    #[must_use]
    pub fn new(runtime: &Path, bus: &Path) -> Self {
        Self {
            runtime: runtime.to_owned(),
            bus: bus.to_owned(),
        }
    }

    /// The ENIs that are not its to configure. `None`: it does not run here, or the agent does not see it.
    #[must_use]
    pub fn unmanaged(&self) -> Option<BTreeSet<String>> {
        if !self.runtime.join("netif/state").exists() {
            return None;
        }
        let files = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let enis = names.filter_map(|name| {
            let eni = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
            Some(eni.to_owned())
        });
        Some(enis.collect())
    }

    /// Takes an interface out of its hands.
    pub async fn unmanage(&self, eni: &EniId, mac: MacAddress) -> Result<(), Error> {
        let path = self.file(eni);
        let part = self.folder().join(format!(".{eni}.part"));
        let write = || {
            fs::create_dir_all(self.folder())?;
            fs::write(&part, text(mac))?;
            fs::rename(&part, &path)
        };
        write().map_err(|source| Error::Write { path, source })?;
        self.reload().await;
        Ok(())
    }

    /// Leaves an interface to it again.
    pub async fn manage(&self, eni: &EniId) -> Result<(), Error> {
        let path = self.file(eni);
        fs::remove_file(&path).map_err(|source| Error::Remove { path, source })?;
        self.reload().await;
        Ok(())
    }

    /// What fails here another reload makes good.
    async fn reload(&self) {
        if !self.bus.exists() {
            return;
        }
        let bus = self.bus.clone();
        let told = spawn_blocking(move || bus::reload(&bus)).await;
        if let Err(error) = told.map_err(io::Error::other).flatten() {
            warn!(error = %Chain(&error), "systemd-networkd not told to reload");
        }
    }

    fn file(&self, eni: &EniId) -> PathBuf {
        self.folder().join(format!("{PREFIX}{eni}{SUFFIX}"))
    }

    fn folder(&self) -> PathBuf {
        self.runtime.join("network")
    }
}

/// VLANs and the like upon the interface bear its address, and are of another type.
fn text(mac: MacAddress) -> String {
    format!(
        "# The agent of eniway configures this interface.\n\
         [Match]\nMACAddress={mac}\nType=ether\n\n[Link]\nUnmanaged=yes\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_interface_is_in_its_hands_or_ours_by_a_file() {
        let run = tempfile::tempdir().unwrap();
        let networkd = Networkd::new(run.path(), &run.path().join("no-bus"));
        assert_eq!(networkd.unmanaged(), None, "it does not run here");
        fs::create_dir(run.path().join("netif")).unwrap();
        fs::write(run.path().join("netif/state"), "").unwrap();
        assert_eq!(networkd.unmanaged(), Some(BTreeSet::new()));
        let eni = EniId::from("eni-1");
        let mac = MacAddress([2, 0, 0, 0, 0, 10]);
        networkd.unmanage(&eni, mac).await.unwrap();
        fs::write(networkd.folder().join("80-ec2.network"), "").unwrap();
        assert_eq!(
            networkd.unmanaged(),
            Some(BTreeSet::from(["eni-1".to_owned()]))
        );
        networkd.manage(&eni).await.unwrap();
        assert_eq!(networkd.unmanaged(), Some(BTreeSet::new()));
        let error = networkd.manage(&eni).await.unwrap_err().to_string();
        assert!(
            error.ends_with("network/10-eniway-eni-1.network"),
            "{error}"
        );
    }
}
