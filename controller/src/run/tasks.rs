//! The tasks beside the work itself: what they watch makes nodes and NodeENIs due.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use eniway_api::conditions::reason;
use futures::StreamExt as _;
use kube::ResourceExt as _;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::warn;

use super::{Error, peer::watch_peer};
use crate::{
    controller::Controller,
    desired::Declared,
    elastic_ips::claimed,
    kubernetes::{self, Change, Notice, Watch},
};

/// Starts them all. They never end, unless something is broken.
pub(super) fn spawn(
    controller: &Arc<Controller>,
    background: &mut JoinSet<Result<(), Error>>,
    mut notices: mpsc::Receiver<Notice>,
) {
    let c = Arc::clone(controller);
    background.spawn(async move {
        let stream = c.kubernetes.nodes();
        each(stream, &c, |c, change| {
            let concerned = c.cache().take_node(change);
            for node in &concerned {
                c.node_due(node);
            }
        })
        .await
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        let stream = c.kubernetes.node_enis();
        each(stream, &c, node_eni_changed).await
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        let stream = c.kubernetes.records();
        each(stream, &c, record_changed).await
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        let stream = c.kubernetes.pools();
        each(stream, &c, pool_changed).await
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        c.keep_pools().await;
        Err(Error::Ended)
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        c.read_by_the_clock().await;
        Err(Error::Ended)
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        c.look_on_request().await;
        Err(Error::Ended)
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        c.summarize().await;
        Err(Error::Ended)
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        c.keep_routes().await;
        Err(Error::Ended)
    });
    let c = Arc::clone(controller);
    background.spawn(async move { watch_peer(&c).await });
    let kubernetes = Arc::clone(&controller.kubernetes);
    background.spawn(async move {
        while let Some(notice) = notices.recv().await {
            kubernetes.publish(&notice).await;
        }
        Err(Error::Ended)
    });
}

async fn each<T>(
    mut stream: Watch<T>,
    controller: &Controller,
    take: impl Fn(&Controller, Change<T>),
) -> Result<(), Error> {
    while let Some(change) = stream.next().await {
        let whole = matches!(change, Change::Whole);
        take(controller, change);
        if whole && controller.cache().is_whole() {
            controller.metrics.ready.store(true, Ordering::Relaxed);
            controller.all_nodes_due();
        }
    }
    Err(Error::Ended)
}

fn node_eni_changed(controller: &Controller, change: Change<Declared>) {
    // What is said of a NodeENI concerns only who says it.
    let concerned = controller.cache().take_node_eni(change);
    let only_said = match concerned.as_slice() {
        [old, new] => controller.cache().asks_the_same(old, new),
        _ => false,
    };
    for declared in &concerned {
        if !only_said {
            controller.nodes_of_node_eni_due(declared);
        }
        let name = match declared {
            Declared::Readable(node_eni) => node_eni.metadata.name.clone().unwrap_or_default(),
            Declared::Unreadable { name, why, .. } => {
                warn!(
                    name,
                    why,
                    reason = reason::INVALID_REQUEST,
                    "NodeENI is left alone"
                );
                continue;
            }
        };
        controller.node_enis.add(name, controller.now());
    }
}

fn record_changed(controller: &Controller, change: Change<kubernetes::Record>) {
    let change = match change {
        Change::Begin => Change::Begin,
        Change::Whole => Change::Whole,
        Change::Is(Ok(record)) => Change::Is(record),
        Change::Gone(Ok(record)) => Change::Gone(record),
        // What cannot be read stays as it was last known.
        Change::Is(Err(name)) => return controller.cache().records.keep(name),
        Change::Gone(Err(_)) => return,
    };
    let frees = matches!(&change, Change::Gone(record) if claimed(record).is_some());
    let concerned = controller.cache().take_record(change);
    if frees {
        controller.elastic_ips_freed();
    }
    let now = controller.now();
    for record in concerned {
        controller.nodes.add(record.spec.node_name.clone(), now);
        controller.told_of(&record);
    }
}

fn pool_changed(controller: &Controller, change: Change<kubernetes::Pool>) {
    let change = match change {
        Change::Begin => Change::Begin,
        Change::Whole => Change::Whole,
        Change::Is(Ok(pool)) => Change::Is(pool),
        Change::Gone(Ok(pool)) => Change::Gone(pool),
        // What cannot be read stays as it was last known.
        Change::Is(Err(name)) => return controller.cache().pools.keep(name),
        Change::Gone(Err(_)) => return,
    };
    let concerned = controller.cache().take_pool(change);
    let concerned: BTreeSet<_> = concerned.iter().map(|pool| pool.name_any()).collect();
    let node_enis: Vec<_> = controller.cache().node_enis.values().cloned().collect();
    for declared in &node_enis {
        let Declared::Readable(node_eni) = declared else {
            continue;
        };
        let pool = node_eni.spec.pool_ref.as_ref();
        if pool.is_some_and(|pool| concerned.contains(&pool.name)) {
            controller.nodes_of_node_eni_due(declared);
        }
    }
    for name in &concerned {
        controller.pool_due(name);
    }
}
