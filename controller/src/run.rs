//! Starts every task, and ends them in order: no new work, what runs is finished, the lease given back.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use eniway_api::{conditions::reason, mark};
use eniway_ec2::{Ec2, Paced, Throttle};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    apply::Chain,
    config::Config,
    controller::Controller,
    desired::Declared,
    kubernetes::{
        self, Change, Kubernetes, Notice, age, watch_node_enis, watch_nodes, watch_records,
    },
    lease::{Election, Leadership, Lost},
    plan::Cluster,
    reconcile::PARALLEL,
    telemetry::{Metrics, ServeError, serve},
};

/// Why the controller ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("a task of the controller ended")]
    Ended,
}

/// How long running work may take at the end: the longest EC2 call and a write.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs until `shutdown` is cancelled or leadership is lost. Dropping the future stops all at once,
/// as a crash does.
pub async fn run(
    config: Config,
    client: kube::Client,
    ec2: impl Ec2,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let metrics = Metrics::default();
    let kubernetes = Kubernetes::new(client, &config.identity);
    let mut background = JoinSet::new();
    let server = serve(config.metrics_address, metrics.clone());
    background.spawn(async { server.await.map_err(Error::from) });
    let Some(cluster) = start(&config, &kubernetes, &shutdown, &mut background).await? else {
        return Ok(());
    };
    let throttle = if config.no_throttle {
        Throttle::none()
    } else {
        Throttle::share(config.throttle_fraction)
    };
    let observed = metrics.clone();
    let observer = Box::new(move |call, verdict, took, waited| {
        observed.ec2(call, verdict, took, waited);
    });
    let (sender, notices) = mpsc::channel(1024);
    let controller = Arc::new(Controller::new(
        config,
        cluster,
        kubernetes,
        Box::new(Paced::new(ec2, throttle, observer)),
        metrics,
        sender,
    ));
    spawn(&controller, &mut background, notices);

    let mut election = Election::new(
        controller.kubernetes.clone(),
        &controller.config,
        Arc::clone(&controller.leadership),
    );
    if !controller.config.leader_election {
        controller
            .leadership
            .send_replace(Leadership::alone(controller.now()));
    }
    let mut work = JoinSet::new();
    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        lost = election.run(), if controller.config.leader_election => Err(Error::from(lost)),
        () = dispatch(&controller, &mut work) => Err(Error::Ended),
        ended = background.join_next() => match ended {
            Some(Ok(Err(error))) => Err(error),
            _ => Err(Error::Ended),
        },
    };
    if result.is_ok() {
        info!(running = work.len(), "Finishing what runs");
        let drained =
            tokio::time::timeout(DRAIN, async { while work.join_next().await.is_some() {} });
        if drained.await.is_err() {
            warn!("Some work did not end in time; the next leader finds what it left");
        }
        if controller.config.leader_election {
            election.resign().await;
        }
    }
    result
}

/// Waits until the API server serves our definitions; `None`: told to end before.
async fn start(
    config: &Config,
    kubernetes: &Kubernetes,
    shutdown: &CancellationToken,
    background: &mut JoinSet<Result<(), Error>>,
) -> Result<Option<Cluster>, Error> {
    loop {
        let tried = async {
            kubernetes.check_schema().await?;
            kubernetes.cluster_uid().await
        };
        let pause = tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            Some(Ok(Err(error))) = background.join_next() => return Err(error),
            result = tried => match result {
                Ok(uid) => {
                    return Ok(Some(Cluster { name: config.cluster_name.clone(), uid }));
                }
                Err(error) => {
                    warn!(error = %Chain(&error), "Not ready, trying again");
                    tokio::time::sleep(Duration::from_secs(2))
                }
            },
        };
        pause.await;
    }
}

fn spawn(
    controller: &Arc<Controller>,
    background: &mut JoinSet<Result<(), Error>>,
    mut notices: mpsc::Receiver<Notice>,
) {
    let c = Arc::clone(controller);
    background.spawn(async move {
        let stream = watch_nodes(&c.kubernetes);
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
        let stream = watch_node_enis(&c.kubernetes);
        each(stream, &c, node_eni_changed).await
    });
    let c = Arc::clone(controller);
    background.spawn(async move {
        let stream = watch_records(&c.kubernetes);
        each(stream, &c, record_changed).await
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
    background.spawn(async move { watch_peer(&c).await });
    let kubernetes = controller.kubernetes.clone();
    background.spawn(async move {
        while let Some(notice) = notices.recv().await {
            kubernetes.publish(&notice).await;
        }
        Err(Error::Ended)
    });
}

async fn each<T>(
    stream: impl Stream<Item = Change<T>>,
    controller: &Controller,
    take: impl Fn(&Controller, Change<T>),
) -> Result<(), Error> {
    let mut stream = pin!(stream);
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
    let concerned = controller.cache().take_node_eni(change);
    for declared in &concerned {
        controller.nodes_of_node_eni_due(declared);
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
    let concerned = controller.cache().take_record(change);
    let now = controller.now();
    for record in concerned {
        controller.nodes.add(record.spec.node_name.clone(), now);
        controller
            .node_enis
            .add(record.spec.node_eni.name.clone(), now);
    }
}

/// Gives due nodes to workers. Never ends; what runs is in `work`.
async fn dispatch(controller: &Arc<Controller>, work: &mut JoinSet<()>) {
    loop {
        while work.len() >= PARALLEL {
            work.join_next().await;
        }
        tokio::select! {
            node = controller.nodes.next() => {
                controller.metrics.queue_depth.set(i64::try_from(controller.nodes.len()).unwrap_or(0));
                let controller = Arc::clone(controller);
                work.spawn(async move {
                    let again = controller.reconcile(&node).await;
                    controller.nodes.done(node, again);
                });
            }
            Some(_) = work.join_next(), if !work.is_empty() => {}
        }
        let leads = controller.leadership.borrow().may_act(controller.now());
        controller.metrics.leader.set(i64::from(leads));
    }
}

/// Looks whether J's controller is at work. Its lease is read, never written.
async fn watch_peer(controller: &Controller) -> Result<(), Error> {
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
                        age(renewed, Timestamp::now()) < lease.duration * 4
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
