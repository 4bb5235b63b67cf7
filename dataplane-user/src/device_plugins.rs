//! Offers the node's devices to the kubelet: one device plugin for each resource, from the first device on.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use eniway_kubelet::Grant;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    apply::Chain,
    devices::{Devices, Offered, device_info, grant, listed},
};

/// How long to wait for the kubelet's folder.
const RETRY: Duration = Duration::from_secs(5);

/// Where device plugins are, and where Multus looks.
#[derive(Clone, Debug)]
pub struct Folders {
    pub plugins: PathBuf,
    pub device_info: PathBuf,
}

/// Serves until `shutdown`. A resource whose last device has gone has none, until the agent starts anew: the kubelet has no
/// word for one that is no more.
pub async fn serve(devices: &Devices, folders: &Folders, shutdown: CancellationToken) {
    let mut all = devices.subscribe();
    all.mark_changed();
    let mut plugins: BTreeMap<String, watch::Sender<Vec<eniway_kubelet::Device>>> = BTreeMap::new();
    let mut running = JoinSet::new();
    let mut known = Vec::new();
    loop {
        tokio::select! {
            changed = all.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => break,
        }
        let now = all.borrow_and_update().clone();
        known = forget(folders, known, &now);
        for device in now.values() {
            if !plugins.contains_key(&device.resource) {
                let resource = device.resource.clone();
                let (sender, receiver) = watch::channel(Vec::new());
                plugins.insert(resource.clone(), sender);
                let (all, folders) = (all.clone(), folders.clone());
                running.spawn(plugin(resource, receiver, all, folders, shutdown.clone()));
            }
        }
        for (resource, plugin) in &plugins {
            let listed = listed(&now, resource);
            plugin.send_if_modified(|before| {
                let is_new = *before != listed;
                *before = listed;
                is_new
            });
        }
    }
    running.join_all().await;
}

async fn plugin(
    resource: String,
    devices: watch::Receiver<Vec<eniway_kubelet::Device>>,
    all: watch::Receiver<BTreeMap<String, Offered>>,
    folders: Folders,
    shutdown: CancellationToken,
) {
    let named = resource.clone();
    let info = folders.device_info.clone();
    let allocate = move |ids: &[String]| -> Result<Grant, String> {
        let granted = grant(&all.borrow(), &named, ids)?;
        for id in ids {
            let told = write_info(&info, &named, id);
            told.map_err(|error| format!("write what Multus reads of {id}: {error}"))?;
        }
        Ok(granted)
    };
    let allocate = Arc::new(allocate);
    while !shutdown.is_cancelled() {
        let served = eniway_kubelet::serve(
            &folders.plugins,
            &resource,
            devices.clone(),
            Arc::clone(&allocate) as _,
            shutdown.clone(),
        );
        if let Err(error) = served.await {
            // Perhaps there is no kubelet yet.
            warn!(resource, error = %Chain(&error), "Devices not offered");
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

fn write_info(folder: &Path, resource: &str, id: &str) -> io::Result<()> {
    let (name, text) = device_info(resource, id);
    fs::create_dir_all(folder)?;
    // Multus reads it at any time.
    let part = folder.join(format!(".{name}.part"));
    fs::write(&part, text)?;
    fs::rename(&part, folder.join(name))
}

/// Removes what Multus reads of devices that are gone, and gives those that are here.
fn forget(
    folders: &Folders,
    known: Vec<(String, String)>,
    now: &BTreeMap<String, Offered>,
) -> Vec<(String, String)> {
    let here = now.values();
    let here: Vec<_> = here
        .map(|one| (one.resource.clone(), one.id.clone()))
        .collect();
    for (resource, id) in known.into_iter().filter(|one| !here.contains(one)) {
        let (name, _) = device_info(&resource, &id);
        // Whoever has it has read it.
        let _ = fs::remove_file(folders.device_info.join(name));
    }
    here
}
