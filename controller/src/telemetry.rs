//! What the controller tells about itself: logs, traces, /metrics, /healthz, /readyz.

mod logs;
#[cfg(feature = "traces")]
mod traces;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use eniway_api::PoolZone;
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

/// The controller's metrics. Labels come from our enums, and name pools, subnets and zones: those that are
/// gone are told of no more.
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
    orphans_dry_run: Family<Labels, Gauge>,
    events: Family<Labels, Counter>,
    pub(crate) queue_failures: Counter,
    pub(crate) interfaces: Family<Labels, Gauge>,
    pub(crate) subnet_free: Family<Labels, Gauge>,
    pool_members: Family<Labels, Gauge>,
    /// The zones that are told of, by pool.
    pools: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
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
            orphans_dry_run: Family::default(),
            events: Family::default(),
            queue_failures: Counter::default(),
            interfaces: Family::default(),
            subnet_free: Family::default(),
            pool_members: Family::default(),
            pools: Arc::default(),
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
        r.register(
            "pool_members",
            "Interfaces of a pool by zone and state",
            self.pool_members.clone(),
        );
        r.register(
            "orphans_dry_run",
            "What would be done about orphans, were they not only reported",
            self.orphans_dry_run.clone(),
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

    /// In a dry run: how many would be dealt with so.
    pub(crate) fn orphans_dry_run(&self, deed: &'static str, count: usize) {
        self.orphans_dry_run
            .get_or_create(&vec![("deed", deed.to_owned())])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How full a pool is; without zones it is told of no more.
    pub(crate) fn pool(&self, name: &str, zones: &[PoolZone]) {
        let labels = |zone: &str, state: &str| {
            vec![
                ("pool", name.to_owned()),
                ("zone", zone.to_owned()),
                ("state", state.to_owned()),
            ]
        };
        let now: BTreeSet<_> = zones.iter().map(|zone| zone.zone.clone()).collect();
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pools.remove(name).unwrap_or_default();
        for zone in before.difference(&now) {
            for state in ["Free", "InUse"] {
                self.pool_members.remove(&labels(zone, state));
            }
        }
        for zone in zones {
            let used = zone.total.saturating_sub(zone.free);
            for (state, count) in [("Free", zone.free), ("InUse", used)] {
                let gauge = self.pool_members.get_or_create(&labels(&zone.zone, state));
                gauge.set(i64::from(count));
            }
        }
        if !now.is_empty() {
            pools.insert(name.to_owned(), now);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(zone: &str, total: u32, free: u32) -> PoolZone {
        PoolZone {
            zone: zone.to_owned(),
            total,
            free,
        }
    }

    /// What is told of pools: `web/a/Free=1`.
    fn told(metrics: &Metrics) -> String {
        let text = metrics.text();
        let lines = text.lines();
        let lines = lines.filter_map(|line| {
            let rest = line.strip_prefix("eniway_controller_pool_members{")?;
            let values: Vec<_> = rest.split('"').collect();
            let count = rest.rsplit(' ').next()?;
            Some(format!("{}/{}/{}={count}", values[1], values[3], values[5]))
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        lines.join(" ")
    }

    #[test]
    fn a_pool_is_told_of_by_zone_and_no_more_when_it_is_gone() {
        let metrics = Metrics::default();
        metrics.pool("web", &[zone("a", 3, 1), zone("b", 1, 1)]);
        metrics.pool("db", &[zone("a", 1, 0)]);
        assert_eq!(
            told(&metrics),
            "db/a/Free=0 db/a/InUse=1 web/a/Free=1 web/a/InUse=2 web/b/Free=1 web/b/InUse=0"
        );
        metrics.pool("web", &[zone("a", 3, 0)]);
        metrics.pool("db", &[]);
        assert_eq!(told(&metrics), "web/a/Free=0 web/a/InUse=3");
        metrics.pool("web", &[]);
        assert_eq!(told(&metrics), "");
    }
}
