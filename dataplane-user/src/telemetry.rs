//! What the agent tells of itself: its log, its metrics, its health.

mod allowance;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use eniway_api::NodePhase;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use tracing_subscriber::EnvFilter;

use self::allowance::Counters;
use crate::{
    apply::{Chain, Programs},
    bpf::Count,
    config::LogFormat,
    netlink,
    plan::Action,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen on {address} for /metrics; is another agent running?")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("serve /metrics on {address}")]
    Serve {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

/// Starts the log. RUST_LOG chooses what is logged; without it, everything that changed.
pub fn log(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// What the loop counts.
#[derive(Clone, Default)]
pub struct Metrics {
    actions: Family<ActionLabels, Counter>,
    interfaces: Family<PhaseLabels, Gauge>,
    set_up: SetUp,
    ready: Arc<AtomicBool>,
    /// The ENIs that are here, and the names of their interfaces.
    present: Arc<Mutex<Vec<(String, String)>>>,
}

/// Seconds until an interface that came is as its record asks.
#[derive(Clone)]
struct SetUp(Histogram);

impl Default for SetUp {
    fn default() -> Self {
        let bounds = [
            0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 60.0,
        ];
        Self(Histogram::new(bounds))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    action: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: String,
}

/// One counter of one ENI. An ENI's identifier is a label because a node has few of them, and they
/// go when the ENI goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PacketLabels {
    eni: String,
    direction: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

impl Metrics {
    pub fn acted(&self, action: &Action, succeeded: bool) {
        let labels = ActionLabels {
            action: action.label(),
            outcome: match succeeded {
                true => "succeeded",
                false => "failed",
            },
        };
        self.actions.get_or_create(&labels).inc();
    }

    /// Tells how long it took from the kernel's event until an interface was set up.
    pub fn set_up(&self, took: Duration) {
        self.set_up.0.observe(took.as_secs_f64());
    }

    /// Tells the phases of all interfaces, and that the first round is over.
    pub fn looked(&self, phases: impl Iterator<Item = NodePhase>) {
        self.interfaces.clear();
        for phase in phases {
            let phase = format!("{phase:?}");
            self.interfaces.get_or_create(&PhaseLabels { phase }).inc();
        }
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Tells which ENIs are here, and as what: the counters of their drivers are read for each scrape.
    pub fn tell_interfaces(&self, interfaces: Vec<(String, String)>) {
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = interfaces;
    }

    /// What the drivers have counted. An interface that has gone meanwhile has counted nothing.
    async fn drivers(&self) -> Vec<(String, Counters)> {
        let present = self
            .present
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut counters = Vec::new();
        for (eni, name) in present {
            match netlink::counters(name).await {
                Ok(read) => counters.push((eni, read)),
                Err(error) => debug!(eni, %error, "Driver's counters unreadable"),
            }
        }
        counters
    }

    /// Everything, in the OpenMetrics text format.
    fn text(
        &self,
        counts: &[(String, Vec<Count>)],
        drivers: &[(String, Counters)],
    ) -> Result<String, std::fmt::Error> {
        let packets = Family::<PacketLabels, Counter>::default();
        let bytes = Family::<PacketLabels, Counter>::default();
        for (eni, count) in counts
            .iter()
            .flat_map(|(eni, counts)| counts.iter().map(move |count| (eni, count)))
        {
            let labels = PacketLabels {
                eni: eni.clone(),
                direction: count.direction.label(),
                outcome: count.outcome.label(),
                reason: count.reason.label(),
            };
            bytes.get_or_create(&labels).inc_by(count.bytes);
            packets.get_or_create(&labels).inc_by(count.packets);
        }
        let mut registry = Registry::with_prefix("eniway_agent");
        registry.register("packets", "Packets the guard has seen", packets);
        registry.register("bytes", "Their bytes, with Ethernet headers", bytes);
        registry.register("actions", "Changes of the kernel", self.actions.clone());
        registry.register("interfaces", "Records by phase", self.interfaces.clone());
        registry.register(
            "set_up_seconds",
            "From the kernel's event until an interface is as its record asks",
            self.set_up.0.clone(),
        );
        allowance::register(&mut registry, drivers);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// Serves /metrics, /healthz and /readyz until `shutdown`.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    programs: Programs,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state((metrics, programs));
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    axum::serve(listener, routes)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(|source| Error::Serve { address, source })
}

/// The counters are read from the kernel for each scrape. When that fails, the others are served.
async fn scrape(
    State((metrics, programs)): State<(Metrics, Programs)>,
) -> Result<([(&'static str, &'static str); 1], String), StatusCode> {
    let counts = programs.counts().await.unwrap_or_else(|error| {
        warn!(error = %Chain(&error), "Counters unreadable");
        Vec::new()
    });
    let text = metrics.text(&counts, &metrics.drivers().await);
    let text = text.or(Err(StatusCode::INTERNAL_SERVER_ERROR))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([("content-type", kind)], text))
}

async fn ready(State((metrics, _)): State<(Metrics, Programs)>) -> (StatusCode, &'static str) {
    match metrics.ready.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "ok"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "this node's records have not been read yet",
        ),
    }
}
