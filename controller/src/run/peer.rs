//! Watches whether J's controller is at work: then ours changes nothing.

use std::sync::atomic::Ordering;

use eniway_api::mark;
use tracing::{info, warn};

use super::Error;
use crate::{apply::Chain, controller::Controller, desired::Declared, kubernetes::age};

/// Looks whether J's controller is at work. Its lease is read, never written.
pub(super) async fn watch_peer(controller: &Controller) -> Result<(), Error> {
    let own = controller.config.namespace.clone();
    let mut namespaces = vec![mark::peer::NAMESPACE.to_owned()];
    if own != mark::peer::NAMESPACE {
        namespaces.push(own);
    }
    loop {
        let mut active = false;
        for namespace in &namespaces {
            match controller
                .kubernetes
                .lease(namespace, mark::peer::LEASE)
                .await
            {
                Ok(Some(lease)) => {
                    let fresh = lease.renewed.is_some_and(|renewed| {
                        // Four of its lease times: its clock and ours need not agree.
                        age(renewed, controller.wall()) < lease.duration * 4
                    });
                    active |= fresh && lease.holder.is_some();
                }
                Ok(None) => {}
                Err(error) => warn!(error = %Chain(&error), "Lease was not read"),
            }
        }
        if controller.other_controller.swap(active, Ordering::Relaxed) != active {
            if active {
                warn!("nodeeni-controller is at work in this cluster: eniway changes nothing");
            } else {
                info!("nodeeni-controller is not at work any more");
            }
            let node_enis: Vec<_> = controller.cache().node_enis.values().cloned().collect();
            for declared in &node_enis {
                if let Declared::Readable(node_eni) = declared {
                    let name = node_eni.metadata.name.clone().unwrap_or_default();
                    controller.node_enis.add(name, controller.now());
                }
            }
            controller.all_nodes_due();
        }
        tokio::time::sleep(controller.config.timing.peer).await;
    }
}
