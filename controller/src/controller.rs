//! What the controller's tasks share: the doors, what is known, and what is due.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use eniway_api::{InstanceId, NodeEniAttachment, VpcId};
use eniway_ec2::{Ec2, Snapshot};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::{
    cache::Cache,
    config::Config,
    desired::{Declared, Node, selects},
    gc::Suspects,
    kubernetes::{Kubernetes, Notice},
    lease::Leadership,
    memory::Memory,
    news::Expected,
    observe::Looks,
    pace::Pace,
    plan::Cluster,
    queue::Queue,
    status::NodeTally,
    telemetry::Metrics,
};

/// A NodeENI's UID to what each node says of it.
pub(crate) type Tallies = BTreeMap<String, BTreeMap<String, NodeTally>>;

pub(crate) struct Controller {
    begun: Instant,
    pub(crate) config: Config,
    pub(crate) cluster: Cluster,
    pub(crate) kubernetes: Arc<dyn Kubernetes>,
    pub(crate) ec2: Box<dyn Ec2>,
    pub(crate) metrics: Metrics,
    pub(crate) leadership: Arc<watch::Sender<Leadership>>,
    /// J's controller renews its lease.
    pub(crate) other_controller: AtomicBool,
    /// Its lease was looked for: before that nobody knows, and nothing is changed.
    pub(crate) peer_known: AtomicBool,
    pub(crate) vpc: Mutex<Option<VpcId>>,
    pub(crate) looks: Looks,
    /// Nodes to reconcile.
    pub(crate) nodes: Queue<String>,
    /// NodeENIs whose status is due.
    pub(crate) node_enis: Queue<String>,
    /// NodeENIs whose routes are due.
    pub(crate) routes: Queue<String>,
    /// ENIPools that are due.
    pub(crate) pools: Queue<String>,
    notices: mpsc::Sender<Notice>,
    cache: Mutex<Cache>,
    snapshot: RwLock<Snapshot>,
    memories: Mutex<BTreeMap<String, Memory>>,
    /// When instances that are unsettled are asked for again.
    paces: Mutex<BTreeMap<InstanceId, Pace>>,
    tallies: Mutex<Tallies>,
    suspects: Mutex<Suspects>,
    /// What events said of instances.
    expected: Mutex<Expected>,
}

impl Controller {
    pub(crate) fn new(
        config: Config,
        cluster: Cluster,
        kubernetes: Arc<dyn Kubernetes>,
        ec2: Box<dyn Ec2>,
        metrics: Metrics,
        leadership: Arc<watch::Sender<Leadership>>,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            begun: tokio::time::Instant::now().into_std(),
            vpc: Mutex::new(config.vpc_id.clone()),
            snapshot: RwLock::new(Snapshot::new(config.timing.grace)),
            config,
            cluster,
            kubernetes,
            ec2,
            metrics,
            leadership,
            other_controller: AtomicBool::new(false),
            peer_known: AtomicBool::new(false),
            looks: Looks::new(),
            nodes: Queue::new(),
            node_enis: Queue::new(),
            routes: Queue::new(),
            pools: Queue::new(),
            notices,
            cache: Mutex::default(),
            memories: Mutex::default(),
            paces: Mutex::default(),
            tallies: Mutex::default(),
            suspects: Mutex::default(),
            expected: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// The time that people and other machines read.
    pub(crate) fn wall(&self) -> Timestamp {
        (self.config.wall)()
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> RwLockReadGuard<'_, Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot_mut(&self) -> RwLockWriteGuard<'_, Snapshot> {
        self.snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn memories(&self) -> MutexGuard<'_, BTreeMap<String, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn paces(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Pace>> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn suspects(&self) -> MutexGuard<'_, Suspects> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn vpc(&self) -> Option<VpcId> {
        self.vpc
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn remember(&self, uid: &str, change: impl FnOnce(&mut Memory)) {
        change(self.memories().entry(uid.to_owned()).or_default());
    }

    pub(crate) fn record(&self, name: &str) -> Option<Arc<NodeEniAttachment>> {
        self.cache().records.get(name).cloned()
    }

    /// Whether this process leads and knows enough: every cache is full, and one whole read of EC2
    /// began after leadership did.
    pub(crate) fn may_decide(&self) -> bool {
        let leadership = *self.leadership.borrow();
        leadership.may_act(self.now())
            && self.cache().is_whole()
            && self
                .snapshot()
                .whole
                .is_some_and(|whole| Some(whole) >= leadership.since)
    }

    /// Whether it may change anything.
    pub(crate) fn may_act(&self) -> bool {
        self.may_decide()
            && self.peer_known.load(Ordering::Relaxed)
            && !self.other_controller.load(Ordering::Relaxed)
    }

    /// A number from 0 to 1, so that not all come back at once.
    pub(crate) fn jitter(&self, salt: &str, now: Instant) -> f64 {
        let mut hasher = DefaultHasher::new();
        (salt, &self.config.identity, now - self.begun).hash(&mut hasher);
        (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Tells people; when too much happens at once, less is told.
    pub(crate) fn notify(&self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            tracing::debug!("Too many events at once, one was lost");
        }
    }

    /// Every node that has, had, or may want something, every pool, and every NodeENI: one that is being deleted
    /// and has no record left is waited for by nobody else.
    pub(crate) fn all_nodes_due(&self) {
        let now = self.now();
        let node_enis: Vec<_> = {
            let cache = self.cache();
            let readable = cache
                .node_enis
                .values()
                .filter_map(|declared| match declared {
                    Declared::Readable(node_eni) => node_eni.metadata.name.clone(),
                    Declared::Unreadable { .. } => None,
                });
            readable.collect()
        };
        for name in node_enis {
            self.node_enis.add(name, now);
        }
        let pools: Vec<_> = self.cache().pools.objects().keys().cloned().collect();
        for name in pools {
            self.pools.add(name, now);
        }
        let names: BTreeSet<_> = {
            let cache = self.cache();
            let nodes = cache.nodes.values().map(|node| node.name.clone());
            let recorded = cache.records.values().map(|r| r.spec.node_name.clone());
            nodes.chain(recorded).collect()
        };
        for name in names {
            self.nodes.add(name, now);
        }
    }

    /// The nodes that a NodeENI selects or has records on.
    pub(crate) fn nodes_of_node_eni_due(&self, declared: &Declared) {
        let now = self.now();
        let names: BTreeSet<_> = {
            let cache = self.cache();
            let selected = cache
                .nodes
                .values()
                .filter(|node| match declared {
                    Declared::Readable(node_eni) => selects(node_eni, node),
                    Declared::Unreadable { .. } => false,
                })
                .map(|node| node.name.clone());
            let recorded = cache
                .records
                .values()
                .filter(|record| record.spec.node_eni.uid == declared.uid())
                .map(|record| record.spec.node_name.clone());
            selected.chain(recorded).collect()
        };
        for name in names {
            self.nodes.add(name, now);
        }
    }

    /// Whoever sums up what records say is due.
    pub(crate) fn told_of(&self, record: &NodeEniAttachment) {
        let node_eni = record.spec.node_eni.name.clone();
        self.node_enis.add(node_eni, self.now());
        if let Some(place) = &record.spec.pool {
            self.pool_due(&place.name);
        }
    }

    /// The API server answered a write of ours; the watch will tell nothing new of it.
    pub(crate) fn wrote(&self, record: NodeEniAttachment) {
        let record = self.cache().wrote(record);
        self.told_of(&record);
    }

    /// The NodeENIs that a node's appearance, change or end concerns.
    pub(crate) fn node_due(&self, node: &Node) {
        self.nodes.add(node.name.clone(), self.now());
    }
}
