//! Tells the SR-IOV network device plugin of our devices, for those who run it: in its file, beside what others wrote there.
//!
//! That plugin reads its file when it starts, and then only; so a device that comes later needs a restart of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    apply::Chain,
    desired::dpdk::VFIO,
    devices::{Devices, Kind, Offered},
};

/// A key that the plugin does not know, and lets pass.
const MARK: &str = "managedBy";
const OURS: &str = "eniway";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {path}", path = .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("understand {path}, which is left as it is", path = .path.display())]
    Understand {
        path: PathBuf,
        #[source]
        source: Mistake,
    },
    #[error("write {path}", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum Mistake {
    #[error("it is no JSON")]
    Json(#[source] serde_json::Error),
    #[error("its resourceList is no list")]
    List,
    #[error(
        "it has an entry for {resource} that eniway did not make; a second one would make the plugin refuse the file"
    )]
    Taken { resource: String },
}

/// Keeps the file as the devices are, until `shutdown`; from when all of them are known, so that the plugin may read it at any
/// time.
pub async fn serve(devices: &Devices, path: &Path, shutdown: CancellationToken) {
    tokio::select! {
        () = devices.whole() => {}
        () = shutdown.cancelled() => return,
    }
    let mut all = devices.subscribe();
    all.mark_changed();
    loop {
        tokio::select! {
            changed = all.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
        let now = all.borrow_and_update().clone();
        match update(path, &now) {
            Ok(true) => info!(path = %path.display(), "Devices written for the SR-IOV plugin"),
            Ok(false) => {}
            Err(error) => {
                warn!(error = %Chain(&error), "Devices not written for the SR-IOV plugin");
            }
        }
    }
}

/// Whether the file had to change.
fn update(path: &Path, devices: &BTreeMap<String, Offered>) -> Result<bool, Error> {
    let before = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?,
    };
    let after = merge(&before, devices).map_err(|source| Error::Understand {
        path: path.to_owned(),
        source,
    })?;
    let Some(after) = after else {
        return Ok(false);
    };
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let part = path.with_extension("eniway-part");
        fs::write(&part, after)?;
        if let Ok(metadata) = fs::metadata(path) {
            fs::set_permissions(&part, metadata.permissions())?;
        }
        fs::rename(&part, path)
    };
    write().map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })?;
    Ok(true)
}

/// The file with an entry for each of our resources, in the place of those that were ours; `None`: it has them.
pub fn merge(before: &str, devices: &BTreeMap<String, Offered>) -> Result<Option<String>, Mistake> {
    let mut file: Value = match before.trim() {
        "" => json!({"resourceList": []}),
        text => serde_json::from_str(text).map_err(Mistake::Json)?,
    };
    let is_new = before.trim().is_empty();
    let list = file
        .as_object_mut()
        .map(|file| file.entry("resourceList").or_insert_with(|| json!([])));
    let list = list.and_then(Value::as_array_mut).ok_or(Mistake::List)?;
    let theirs: Vec<Value> = list
        .iter()
        .filter(|entry| !is_ours(entry))
        .cloned()
        .collect();
    let resources: BTreeSet<&String> = devices.values().map(|one| &one.resource).collect();
    let mut wanted = theirs.clone();
    for resource in resources {
        if theirs
            .iter()
            .any(|entry| name(entry).as_ref() == Some(resource))
        {
            let resource = resource.clone();
            return Err(Mistake::Taken { resource });
        }
        wanted.push(entry(resource, devices));
    }
    let is_same = *list == wanted;
    if is_same || (is_new && wanted.is_empty()) {
        return Ok(None);
    }
    *list = wanted;
    Ok(Some(format!("{file:#}\n")))
}

fn is_ours(entry: &Value) -> bool {
    entry[MARK] == OURS
}

/// The resource of an entry; its domain has a default.
fn name(entry: &Value) -> Option<String> {
    let domain = entry["resourcePrefix"].as_str().unwrap_or("intel.com");
    Some(format!("{domain}/{}", entry["resourceName"].as_str()?))
}

fn entry(resource: &str, devices: &BTreeMap<String, Offered>) -> Value {
    let (domain, name) = resource.split_once('/').unwrap_or(("", resource));
    let of_resource = devices.values().filter(|one| one.resource == resource);
    let (mut addresses, mut drivers) = (BTreeSet::new(), BTreeSet::new());
    for device in of_resource {
        addresses.insert(&device.id);
        drivers.insert(match &device.kind {
            Kind::Kernel => "ena",
            Kind::Vfio(_) => VFIO,
            Kind::Uio { driver, .. } => driver,
        });
    }
    json!({
        "resourceName": name,
        "resourcePrefix": domain,
        "selectors": [{"pciAddresses": addresses, "drivers": drivers}],
        MARK: OURS,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::pci::Group;

    const THEIRS: &str = r#"{
      "logLevel": 10,
      "resourceList": [
        {"resourceName": "mlnx", "selectors": {"vendors": ["15b3"]}, "later": {"x": 1}},
        {"managedBy": "eniway", "resourceName": "old", "resourcePrefix": "example.com", "selectors": []}
      ]
    }"#;

    fn devices(resource: &str) -> BTreeMap<String, Offered> {
        let device = Offered {
            resource: resource.to_owned(),
            id: "0000:00:06.0".to_owned(),
            kind: Kind::Vfio(Group::default()),
            healthy: true,
            numa_node: None,
        };
        BTreeMap::from([("eni-1".to_owned(), device)])
    }

    #[test]
    fn our_entries_change_and_all_else_stays() {
        let after = merge(THEIRS, &devices("example.com/upf")).unwrap().unwrap();
        expect![[r#"
            {
              "logLevel": 10,
              "resourceList": [
                {
                  "later": {
                    "x": 1
                  },
                  "resourceName": "mlnx",
                  "selectors": {
                    "vendors": [
                      "15b3"
                    ]
                  }
                },
                {
                  "managedBy": "eniway",
                  "resourceName": "upf",
                  "resourcePrefix": "example.com",
                  "selectors": [
                    {
                      "drivers": [
                        "vfio-pci"
                      ],
                      "pciAddresses": [
                        "0000:00:06.0"
                      ]
                    }
                  ]
                }
              ]
            }
        "#]]
        .assert_eq(&after);
        assert_eq!(merge(&after, &devices("example.com/upf")).unwrap(), None);
        let without = merge(&after, &BTreeMap::new()).unwrap().unwrap();
        assert!(!without.contains("eniway") && without.contains("mlnx"));
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_as_it_is() {
        let check = |before: &str| {
            merge(before, &devices("intel.com/mlnx"))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(check("{"), "it is no JSON");
        assert_eq!(
            check(r#"{"resourceList": {}}"#),
            "its resourceList is no list"
        );
        assert_eq!(
            check(THEIRS),
            "it has an entry for intel.com/mlnx that eniway did not make; a second one would make the plugin refuse the file"
        );
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, THEIRS).unwrap();
        update(&path, &devices("intel.com/mlnx")).unwrap_err();
        assert_eq!(fs::read_to_string(path).unwrap(), THEIRS);
    }

    #[test]
    fn a_file_that_is_not_there_is_made_when_there_is_something_to_say() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("pcidp/config.json");
        assert!(!update(&path, &BTreeMap::new()).unwrap());
        assert!(!path.exists());
        assert!(update(&path, &devices("a.b/c")).unwrap());
        assert!(!update(&path, &devices("a.b/c")).unwrap());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
