//! Starts every task, and ends them in order: no new work, what runs is finished, the lease given back.

mod peer;
mod tasks;

use std::{sync::Arc, time::Duration};

use eniway_ec2::{Ec2, Paced, Throttle, queue::Queue};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::tasks::spawn;
use crate::{
    apply::Chain,
    config::Config,
    controller::Controller,
    kubernetes::{self, Kubernetes},
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
    kubernetes: impl Kubernetes,
    ec2: impl Ec2,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    run_listening(config, kubernetes, ec2, None, shutdown).await
}

/// The same, and listens to a queue of events, if there is one.
pub async fn run_listening(
    config: Config,
    kubernetes: impl Kubernetes,
    ec2: impl Ec2,
    queue: Option<Arc<dyn Queue>>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let metrics = Metrics::default();
    let kubernetes: Arc<dyn Kubernetes> = Arc::new(kubernetes);
    let mut background = JoinSet::new();
    if let Some(address) = config.metrics_address {
        let server = serve(address, metrics.clone());
        background.spawn(async { server.await.map_err(Error::from) });
    }
    let Some(cluster) = start(&config, &*kubernetes, &shutdown, &mut background).await? else {
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
    let leadership = Arc::new(watch::Sender::new(Leadership::default()));
    let right = {
        let leadership = Arc::clone(&leadership);
        // Only leadership counts: what was begun before another controller woke is finished.
        Box::new(move || {
            leadership
                .borrow()
                .may_act(tokio::time::Instant::now().into_std())
        })
    };
    let (sender, notices) = mpsc::channel(1024);
    let controller = Arc::new(Controller::new(
        config,
        cluster,
        kubernetes,
        Box::new(Paced::new(ec2, throttle, right, observer)),
        metrics,
        leadership,
        sender,
    ));
    spawn(&controller, &mut background, notices);
    if let Some(queue) = queue {
        let controller = Arc::clone(&controller);
        background.spawn(async move {
            controller.listen(queue).await;
            Err(Error::Ended)
        });
    }

    let mut election = Election::new(
        Arc::clone(&controller.kubernetes),
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
        biased;
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
    kubernetes: &dyn Kubernetes,
    shutdown: &CancellationToken,
    background: &mut JoinSet<Result<(), Error>>,
) -> Result<Option<Cluster>, Error> {
    loop {
        let tried = async {
            kubernetes.check_schema().await?;
            kubernetes.cluster_uid().await
        };
        let pause = tokio::select! {
            biased;
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

/// Gives due nodes to workers. Never ends; what runs is in `work`.
async fn dispatch(controller: &Arc<Controller>, work: &mut JoinSet<()>) {
    loop {
        while work.len() >= PARALLEL {
            work.join_next().await;
        }
        tokio::select! {
            biased;
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
