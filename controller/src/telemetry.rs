//! What the controller tells about itself: logs, traces, /metrics, /healthz, /readyz.

mod logs;
#[cfg(feature = "traces")]
mod traces;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use eniway_ec2::{Call, Verdict};
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

pub use self::logs::log;
#[cfg(feature = "traces")]
pub use self::traces::{Traces, TracesError, log_and_trace};

type Labels = Vec<(&'static str, String)>;

/// The controller's metrics. Labels come from our enums only.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    ec2_requests: Family<Labels, Counter>,
    ec2_seconds: Family<Labels, Histogram>,
    ec2_waiting: Family<Labels, Histogram>,
    reconciles: Family<Labels, Counter>,
    reconcile_seconds: Histogram,
    actions: Family<Labels, Counter>,
    pub(crate) queue_depth: Gauge,
    pub(crate) leader: Gauge,
    orphans: Family<Labels, Gauge>,
    events: Family<Labels, Counter>,
    pub(crate) queue_failures: Counter,
    pub(crate) interfaces: Family<Labels, Gauge>,
    pub(crate) subnet_free: Family<Labels, Gauge>,
    pub(crate) ready: Arc<AtomicBool>,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 12))
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("eniway_controller"))),
            ec2_requests: Family::default(),
            ec2_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            ec2_waiting: Family::new_with_constructor(seconds as fn() -> Histogram),
            reconciles: Family::default(),
            reconcile_seconds: seconds(),
            actions: Family::default(),
            queue_depth: Gauge::default(),
            leader: Gauge::default(),
            orphans: Family::default(),
            events: Family::default(),
            queue_failures: Counter::default(),
            interfaces: Family::default(),
            subnet_free: Family::default(),
            ready: Arc::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut registry;
        r.register("ec2_requests", "EC2 calls", self.ec2_requests.clone());
        r.register(
            "ec2_request_duration_seconds",
            "Time until EC2 answered",
            self.ec2_seconds.clone(),
        );
        r.register(
            "ec2_rate_limiter_wait_seconds",
            "Time that a call waited for a token",
            self.ec2_waiting.clone(),
        );
        r.register("reconcile", "Reconciled nodes", self.reconciles.clone());
        r.register(
            "reconcile_duration_seconds",
            "Time that one node took",
            self.reconcile_seconds.clone(),
        );
        r.register("actions", "Actions carried out", self.actions.clone());
        r.register("queue_depth", "Nodes waiting", self.queue_depth.clone());
        r.register(
            "orphans",
            "Interfaces of this cluster that no record owns, by state",
            self.orphans.clone(),
        );
        r.register("leader", "1 while this replica leads", self.leader.clone());
        r.register(
            "events",
            "Messages of the queue of events, by kind",
            self.events.clone(),
        );
        r.register(
            "event_queue_failures",
            "Calls of the queue of events that brought no answer",
            self.queue_failures.clone(),
        );
        r.register(
            "interfaces",
            "Interfaces of this cluster by state",
            self.interfaces.clone(),
        );
        r.register(
            "subnet_available_ips",
            "Free addresses of the subnets in use",
            self.subnet_free.clone(),
        );
    }

    /// Counts one EC2 call.
    pub fn ec2(&self, call: Call, verdict: Option<Verdict>, took: Duration, waited: Duration) {
        let operation = ("operation", call.to_string());
        let result = verdict.map_or_else(|| "Ok".to_owned(), |verdict| format!("{verdict:?}"));
        self.ec2_requests
            .get_or_create(&vec![operation.clone(), ("verdict", result)])
            .inc();
        let labels = vec![operation];
        self.ec2_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        self.ec2_waiting
            .get_or_create(&labels)
            .observe(waited.as_secs_f64());
    }

    pub(crate) fn heard(&self, kind: &'static str) {
        self.events
            .get_or_create(&vec![("kind", kind.to_owned())])
            .inc();
    }

    pub(crate) fn orphans(&self, state: &'static str, count: usize) {
        self.orphans
            .get_or_create(&vec![("state", state.to_owned())])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn reconciled(&self, ok: bool, took: Duration) {
        let result = if ok { "ok" } else { "error" }.to_owned();
        self.reconciles
            .get_or_create(&vec![("result", result)])
            .inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn acted(&self, action: &'static str, ok: bool) {
        let result = if ok { "ok" } else { "error" }.to_owned();
        self.actions
            .get_or_create(&vec![("action", action.to_owned()), ("result", result)])
            .inc();
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// The HTTP endpoints could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("serve metrics on {address}: is the port taken? see --metrics-address")]
pub struct ServeError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Serves until it is dropped.
pub(crate) async fn serve(address: SocketAddr, metrics: Metrics) -> Result<(), ServeError> {
    let failed = |source| ServeError { address, source };
    let ready = Arc::clone(&metrics.ready);
    let router = Router::new()
        .route("/metrics", get(move || async move { metrics.text() }))
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/readyz",
            get(move || async move {
                if ready.load(Ordering::Relaxed) {
                    (StatusCode::OK, "ok")
                } else {
                    (
                        StatusCode::SERVICE_UNAVAILABLE,
                        "the caches are not full yet",
                    )
                }
            }),
        );
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(failed)?;
    axum::serve(listener, router).await.map_err(failed)
}
