//! Watches whether J's controller is at work: then ours changes nothing.

use std::{sync::atomic::Ordering, time::Duration};

use eniway_api::mark;
use tracing::{info, warn};

use super::Error;
use crate::{apply::Chain, controller::Controller, kubernetes::age};

/// Looks whether J's controller is at work. Its lease is read, never written.
pub(super) async fn watch_peer(controller: &Controller) -> Result<(), Error> {
    let own = controller.config.namespace.clone();
    let mut namespaces = vec![mark::peer::NAMESPACE.to_owned()];
    if own != mark::peer::NAMESPACE {
        namespaces.push(own);
    }
    loop {
        let mut active = false;
        let mut known = true;
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
                Err(error) => {
                    warn!(error = %Chain(&error), "Lease was not read");
                    known = false;
                }
            }
        }
        // What cannot be read says nothing: what was known before stands.
        if active || known {
            learn(controller, active);
        }
        let pause = controller.config.timing.peer;
        let soon = Duration::from_secs(1).min(pause);
        tokio::time::sleep(if known { pause } else { soon }).await;
    }
}

fn learn(controller: &Controller, active: bool) {
    let new = !controller.peer_known.swap(true, Ordering::Relaxed);
    let changed = controller.other_controller.swap(active, Ordering::Relaxed) != active;
    if changed && active {
        warn!("nodeeni-controller is at work in this cluster: eniway changes nothing");
    } else if changed {
        info!("nodeeni-controller is not at work any more");
    }
    if changed || new {
        controller.all_nodes_due();
    }
}
