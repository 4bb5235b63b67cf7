//! The door to PCI functions in sysfs: which driver has one, and how it gets another.
//!
//! The kernel answers `unbind` only when the last program that holds the device has let go, so each change runs on a
//! thread of its own, with a bound on the wait.

mod memory;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use eniway_api::MacAddress;

pub use self::memory::{Hugepages, is_write_combining};

/// How long a change is waited for: ENA's probe takes most of a second. What takes longer goes on, and is seen by the next
/// look.
const PATIENCE: Duration = Duration::from_secs(3);

/// A PCI function, as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Domain, bus, device and function: `0000:00:06.0`.
    pub address: String,
    pub driver: Option<String>,
    /// The only driver that may have it.
    pub driver_override: Option<String>,
    /// Absent without an IOMMU; with one that vfio-pci made up, `no_iommu` is set.
    pub group: Option<Group>,
    pub numa_node: Option<u32>,
    /// How many have switched it on: a kernel driver while it has it, vfio-pci while a program holds it.
    pub enabled: u32,
    /// Addresses of its network interfaces in this namespace.
    pub macs: Vec<MacAddress>,
    /// Its number under /dev/uio, with a driver of that kind.
    pub uio: Option<u32>,
}

/// The functions that an IOMMU does not tell apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub number: u32,
    /// Made up by vfio-pci where there is no IOMMU.
    pub no_iommu: bool,
    /// The others in it that are no bridges, and their drivers.
    pub others: Vec<(String, Option<String>)>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("write {text:?} to {path}", path = .path.display())]
    Write {
        text: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the kernel has not answered within {patience:?}: a program holds {address}")]
    Slow { address: String, patience: Duration },
    #[error("{address} still waits for an earlier change: a program holds it")]
    Busy { address: String },
    #[error("{driver} did not take {address}; the kernel's log has the reason")]
    NotTaken { address: String, driver: String },
    #[error(
        "this agent changes no drivers: start it with --sysfs-writable (agent.dpdk.enabled in the chart)"
    )]
    ReadOnly,
    #[error("the thread that changes drivers died")]
    Thread(#[source] tokio::task::JoinError),
}

/// PCI functions, under roots that tests choose.
#[derive(Clone, Debug)]
pub struct Pci {
    /// A sysfs to read.
    sysfs: PathBuf,
    /// One to write: in a container the other is read-only. Absent: nothing is changed.
    writable: Option<PathBuf>,
    /// Functions with a change that has not ended.
    busy: Arc<Mutex<BTreeSet<String>>>,
    patience: Duration,
}

impl Pci {
    pub fn new(sysfs: impl Into<PathBuf>, writable: Option<impl Into<PathBuf>>) -> Self {
        Self {
            sysfs: sysfs.into(),
            writable: writable.map(Into::into),
            busy: Arc::default(),
            patience: PATIENCE,
        }
    }

    /// The function at `address`; `None` if there is none.
    #[must_use]
    pub fn function(&self, address: &str) -> Option<Function> {
        let folder = self.sysfs.join("bus/pci/devices").join(address);
        if !folder.exists() {
            return None;
        }
        Some(Function {
            address: address.to_owned(),
            driver: name_behind(&folder.join("driver")),
            driver_override: read(&folder.join("driver_override")).filter(|it| it != "(null)"),
            group: self.group(address, &folder),
            // -1: the machine has one.
            numa_node: number(&folder.join("numa_node")),
            enabled: number(&folder.join("enable")).unwrap_or(0),
            macs: macs(&folder.join("net")),
            uio: names(&folder.join("uio"))
                .iter()
                .find_map(|name| name.strip_prefix("uio")?.parse().ok()),
        })
    }

    fn group(&self, address: &str, folder: &Path) -> Option<Group> {
        let number = name_behind(&folder.join("iommu_group"))?;
        let group = self.sysfs.join("kernel/iommu_groups").join(&number);
        let others = names(&group.join("devices")).into_iter();
        let others = others.filter(|other| other != address);
        let devices = self.sysfs.join("bus/pci/devices");
        Some(Group {
            number: number.parse().ok()?,
            no_iommu: read(&group.join("name")).as_deref() == Some("vfio-noiommu"),
            others: others
                .filter(|other| !is_bridge(&devices.join(other)))
                .map(|other| {
                    let driver = name_behind(&devices.join(&other).join("driver"));
                    (other, driver)
                })
                .collect(),
        })
    }

    /// Whether drivers may be changed.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.writable.is_some()
    }

    /// Whether the kernel has a driver of PCI functions.
    #[must_use]
    pub fn has_driver(&self, driver: &str) -> bool {
        self.sysfs.join("bus/pci/drivers").join(driver).exists()
    }

    /// Whether vfio may do without an IOMMU.
    #[must_use]
    pub fn allows_no_iommu(&self) -> bool {
        let parameter = "module/vfio/parameters/enable_unsafe_noiommu_mode";
        matches!(
            read(&self.sysfs.join(parameter)).as_deref(),
            Some("Y" | "1")
        )
    }

    /// Lets only `driver` have the function; `None`: any that fits.
    pub async fn override_driver(&self, address: &str, driver: Option<&str>) -> Result<(), Error> {
        let path = format!("bus/pci/devices/{address}/driver_override");
        // A newline takes the choice back.
        let text = driver.unwrap_or("\n");
        self.write(address, &path, text).await
    }

    /// Takes the function from `driver`.
    pub async fn unbind(&self, address: &str, driver: &str) -> Result<(), Error> {
        let path = format!("bus/pci/drivers/{driver}/unbind");
        self.write(address, &path, address).await
    }

    /// Gives the function to the driver that fits, which must be `driver`.
    pub async fn probe(&self, address: &str, driver: &str) -> Result<(), Error> {
        self.write(address, "bus/pci/drivers_probe", address)
            .await?;
        let taken = self.function(address).and_then(|function| function.driver);
        if taken.as_deref() == Some(driver) {
            return Ok(());
        }
        Err(Error::NotTaken {
            address: address.to_owned(),
            driver: driver.to_owned(),
        })
    }

    async fn write(&self, address: &str, path: &str, text: &str) -> Result<(), Error> {
        let Some(writable) = &self.writable else {
            return Err(Error::ReadOnly);
        };
        let busy = || self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy().insert(address.to_owned()) {
            let address = address.to_owned();
            return Err(Error::Busy { address });
        }
        let path = writable.join(path);
        let (ended, owned) = (Arc::clone(&self.busy), address.to_owned());
        let (told, written) = (path.clone(), text.to_owned());
        let writing = tokio::task::spawn_blocking(move || {
            // Never makes a file: one that is not there is told.
            let file = fs::OpenOptions::new().write(true).open(&path);
            let result =
                file.and_then(|mut file| io::Write::write_all(&mut file, written.as_bytes()));
            let mut busy = ended.lock().unwrap_or_else(PoisonError::into_inner);
            busy.remove(&owned);
            result
        });
        match tokio::time::timeout(self.patience, writing).await {
            Err(_) => Err(Error::Slow {
                address: address.to_owned(),
                patience: self.patience,
            }),
            Ok(ended) => ended
                .map_err(Error::Thread)?
                .map_err(|source| Error::Write {
                    text: text.trim().to_owned(),
                    path: told,
                    source,
                }),
        }
    }
}

/// A bridge is not bound to a driver for DPDK, and need not be.
fn is_bridge(folder: &Path) -> bool {
    read(&folder.join("class")).is_some_and(|class| class.starts_with("0x0604"))
}

fn macs(folder: &Path) -> Vec<MacAddress> {
    let interfaces = names(folder).into_iter();
    interfaces
        .filter_map(|name| read(&folder.join(name).join("address"))?.parse().ok())
        .collect()
}

/// Without the line's end.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn number(path: &Path) -> Option<u32> {
    read(path)?.parse().ok()
}

/// What a folder holds, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The last part of what a symbolic link points to.
fn name_behind(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests;
