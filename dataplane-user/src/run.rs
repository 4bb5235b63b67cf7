//! Puts the agent together, and stops it in order.

use std::time::Duration;

use eniway_api::InstanceId;
use eniway_kubelet::Pods;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    apply::{Chain, Kernel, Programs},
    capabilities,
    config::Config,
    device_plugins::{self, Folders},
    devices::Devices,
    imds::Imds,
    kubernetes::HEARTBEAT,
    metadata::Metadata,
    netlink,
    networkd::Networkd,
    observe::Accept,
    pci::Pci,
    pods::Offers,
    proc::Proc,
    reconcile::{self, Agent, Offering},
    records::{self, Records},
    sockets, sriov,
    states::States,
    sysctl::Sysctls,
    sysfs::Sysfs,
    telemetry::{self, Metrics},
};

/// How often the Node is read while it does not say which instance it is.
const INSTANCE_RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Records(#[from] records::Error),
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    Reconcile(#[from] reconcile::Error),
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error(transparent)]
    Sockets(#[from] sockets::Error),
    #[error("listen for SIGTERM and SIGINT")]
    Signals(#[source] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), Error> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let stop = shutdown.clone();
    let told_to_stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("Stopping; the programs stay attached");
        stop.cancel();
        std::future::pending().await
    };
    tokio::select! {
        ended = run_until(config, shutdown) => ended,
        never = told_to_stop => never,
    }
}

/// Runs until `shutdown` is cancelled; the loop finishes the round it is in.
pub async fn run_until(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let records = Records::open(&config).await?;
    let programs = Programs::new(config.bpffs.clone());
    let metrics = Metrics::default();
    let served = telemetry::serve(
        config.metrics_address,
        metrics.clone(),
        programs.clone(),
        shutdown.clone(),
    );
    let offers = Offers::default();
    let devices = Devices::default();
    let offered = offer_devices(&config, &devices, shutdown.clone());
    let handed_out = sockets(&config, programs.clone(), offers.clone(), shutdown.clone());
    let heart = heartbeat(&records, &shutdown);
    let doors = Doors {
        programs,
        offers,
        metrics,
        devices: devices.clone(),
    };
    let work = work(&config, &records, doors, &shutdown);
    let served = async { served.await.map_err(Error::from) };
    let heart = async {
        heart.await;
        Ok(())
    };
    let offered = async {
        offered.await;
        Ok(())
    };
    tokio::try_join!(served, handed_out, heart, offered, work).map(|_| ())
}

/// What the loop shares with those who serve.
struct Doors {
    programs: Programs,
    offers: Offers,
    metrics: Metrics,
    devices: Devices,
}

fn offers_devices(config: &Config) -> bool {
    config.device_plugins.is_some() || config.sriov_config.is_some()
}

async fn offer_devices(config: &Config, devices: &Devices, shutdown: CancellationToken) {
    let plugins = async {
        if let Some(plugins) = &config.device_plugins {
            let folders = Folders {
                plugins: plugins.clone(),
                device_info: config.device_info.clone(),
            };
            device_plugins::serve(devices, &folders, shutdown.clone()).await;
        }
    };
    let sriov = async {
        if let Some(path) = &config.sriov_config {
            sriov::serve(devices, path, shutdown.clone()).await;
        }
    };
    tokio::join!(plugins, sriov);
}

async fn sockets(
    config: &Config,
    programs: Programs,
    offers: Offers,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    match &config.socket {
        Some(path) => Ok(sockets::serve(path, programs, offers, shutdown).await?),
        None => Ok(()),
    }
}

async fn work(
    config: &Config,
    records: &Records,
    doors: Doors,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let instance = match config.instance_id.clone() {
        Some(instance) => instance,
        None => match instance(records, shutdown).await {
            Some(instance) => instance,
            None => return Ok(()),
        },
    };
    info!(node = config.node_name.as_deref(), %instance, "Started");
    if !capabilities::is_trusted() {
        warn!(
            "Without CAP_PERFMON the kernel puts barriers into the programs, and each packet's check takes several times as \
             long (agent.perfmon in the chart, CapabilityBoundingSet in systemd's unit)"
        );
    }
    let (netlink, links) = netlink::open()?;
    let agent = Agent {
        instance,
        kernel: Kernel::new(
            netlink,
            Sysctls::new(&config.sysctls),
            Pci::new(&config.sysfs, config.sysfs_writable.as_ref()),
            Networkd::new(&config.systemd, &config.bus),
            doors.programs,
        ),
        records: records.clone(),
        sysfs: Sysfs::new(&config.sysfs),
        accept: match config.accept_virtual {
            true => Accept::Virtual,
            false => Accept::Hardware,
        },
        proc: Proc::new(&config.proc),
        may_no_iommu: config.allow_unsafe_no_iommu,
        metrics: doors.metrics,
        offers: doors.offers,
        devices: offers_devices(config).then(|| Offering {
            devices: doors.devices,
            pods: Pods::new(&config.pod_resources),
        }),
        // Without Kubernetes they are the statuses.
        states: match config.config {
            Some(_) => None,
            None => config.states.clone().map(States::new),
        },
        metadata: Metadata::follow(config.compare_metadata.then(|| Imds::new(&config.imds))),
    };
    let changes = records.changes();
    Ok(agent.run(changes, links, shutdown.clone()).await?)
}

/// Asks until somebody says which instance it is. `None`: told to stop.
async fn instance(records: &Records, shutdown: &CancellationToken) -> Option<InstanceId> {
    let kubernetes = match records {
        Records::Kubernetes(kubernetes) => kubernetes,
        Records::File(standalone) => {
            return tokio::select! {
                instance = standalone.instance() => Some(instance),
                () = shutdown.cancelled() => None,
            };
        }
    };
    loop {
        match kubernetes.instance().await {
            Ok(instance) => return Some(instance),
            Err(error) => warn!(error = %Chain(&error), "Instance unknown"),
        }
        tokio::select! {
            () = tokio::time::sleep(INSTANCE_RETRY) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}

async fn heartbeat(records: &Records, shutdown: &CancellationToken) {
    // Nobody asks whether an agent without Kubernetes lives.
    let Records::Kubernetes(kubernetes) = records else {
        return;
    };
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = kubernetes.renew_lease().await {
            warn!(error = %Chain(&error), "Heartbeat failed");
        }
    }
}
