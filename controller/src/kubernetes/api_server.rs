//! A real API server, reached by kube.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use eniway_api::{
    Ec2Status, EniPool, EniPoolStatus, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec,
    NodeEniStatus, RouteStatus, mark,
};
use futures::{StreamExt as _, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, Node as KubeNode},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PatchParams, PostParams},
    runtime::events::Reporter,
};
use tokio::sync::Semaphore;

use super::{Answer, Error, Kubernetes, Lease, Notice, Pool, Record, Watch, crds, events::Events};
use crate::{
    desired::{Declared, Node, Taint},
    holders::Pod,
};

/// The longest a request may take. The API server itself gives up after 60 s, by default.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Requests under way at once: each has a connection, and that takes memory.
const UNDER_WAY: usize = 32;

/// A real API server.
#[derive(Clone)]
pub struct ApiServer {
    pub(super) client: Client,
    pub(super) records: Api<NodeEniAttachment>,
    pub(super) node_enis: Api<NodeEni>,
    pub(super) pools: Api<EniPool>,
    pub(super) nodes: Api<KubeNode>,
    pub(super) events: Arc<Events>,
    slots: Arc<Semaphore>,
}

impl ApiServer {
    /// Uses `client`; events name `identity` as the instance that reports.
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: mark::CONTROLLER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            records: Api::all(client.clone()),
            node_enis: Api::all(client.clone()),
            pools: Api::all(client.clone()),
            nodes: Api::all(client.clone()),
            events: Arc::new(Events::new(client.clone(), reporter)),
            slots: Arc::new(Semaphore::new(UNDER_WAY)),
            client,
        }
    }

    /// The UID of namespace kube-system, which no two clusters share.
    async fn cluster_uid(&self) -> Result<String, Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = namespaces
            .get("kube-system")
            .await
            .map_err(Error::ClusterUid)?;
        namespace.uid().ok_or(Error::NoClusterUid)
    }

    /// Whether the API server serves our definitions.
    async fn check_schema(&self) -> Result<(), Error> {
        self.records
            .list(&ListParams::default().limit(1))
            .await
            .map_err(Error::Schema)?;
        crds::check(&self.client).await
    }
}

impl Kubernetes for ApiServer {
    fn cluster_uid(&self) -> Answer<'_, String> {
        self.in_turn(move || Self::cluster_uid(self))
    }

    fn check_schema(&self) -> Answer<'_, ()> {
        self.in_turn(move || Self::check_schema(self))
    }

    fn nodes(&self) -> Watch<Node> {
        self.watch_nodes().boxed()
    }

    fn node_enis(&self) -> Watch<Declared> {
        self.watch_node_enis().boxed()
    }

    fn records(&self) -> Watch<Record> {
        self.watch_records().boxed()
    }

    fn pools(&self) -> Watch<Pool> {
        self.watch_pools().boxed()
    }

    fn write_record<'a>(
        &'a self,
        name: &'a str,
        spec: &'a NodeEniAttachmentSpec,
    ) -> Answer<'a, (NodeEniAttachment, bool)> {
        self.in_turn(move || Self::write_record(self, name, spec))
    }

    fn change_record<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
        spec: &'a NodeEniAttachmentSpec,
    ) -> Answer<'a, NodeEniAttachment> {
        self.in_turn(move || Self::change_record(self, record, spec))
    }

    fn delete_record<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
    ) -> Answer<'a, Option<NodeEniAttachment>> {
        self.in_turn(move || Self::delete_record(self, record))
    }

    fn report<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
        ec2: &'a Ec2Status,
        ready: &'a Condition,
    ) -> Answer<'a, NodeEniAttachment> {
        self.in_turn(move || Self::report(self, record, ec2, ready))
    }

    fn record_uids(&self) -> Answer<'_, BTreeSet<String>> {
        self.in_turn(move || Self::record_uids(self))
    }

    fn drop_finalizer<'a>(&'a self, record: &'a NodeEniAttachment) -> Answer<'a, ()> {
        self.in_turn(move || Self::drop_finalizer(self, record))
    }

    fn pods<'a>(&'a self, node: &'a str) -> Answer<'a, Vec<Pod>> {
        self.in_turn(move || Self::pods(self, node))
    }

    fn set_node_eni_finalizer<'a>(&'a self, node_eni: &'a NodeEni, wanted: bool) -> Answer<'a, ()> {
        self.in_turn(move || Self::set_node_eni_finalizer(self, node_eni, wanted))
    }

    fn report_node_eni<'a>(
        &'a self,
        node_eni: &'a NodeEni,
        status: &'a NodeEniStatus,
    ) -> Answer<'a, ()> {
        self.in_turn(move || Self::report_node_eni(self, node_eni, status))
    }

    fn report_routes<'a>(
        &'a self,
        node_eni: &'a NodeEni,
        routes: &'a [RouteStatus],
        condition: Option<&'a Condition>,
        as_seen: bool,
    ) -> Answer<'a, ()> {
        self.in_turn(move || Self::report_routes(self, node_eni, routes, condition, as_seen))
    }

    fn label_node<'a>(
        &'a self,
        name: &'a str,
        uid: &'a str,
        labels: &'a BTreeMap<String, bool>,
    ) -> Answer<'a, Node> {
        self.in_turn(move || Self::label_node(self, name, uid, labels))
    }

    fn annotate_node<'a>(
        &'a self,
        name: &'a str,
        uid: &'a str,
        interfaces: Option<&'a str>,
    ) -> Answer<'a, Node> {
        self.in_turn(move || Self::annotate_node(self, name, uid, interfaces))
    }

    fn taint<'a>(&'a self, name: &'a str, uid: &'a str) -> Answer<'a, Node> {
        self.in_turn(move || Self::taint(self, name, uid))
    }

    fn untaint<'a>(&'a self, name: &'a str, uid: &'a str, taints: &'a [Taint]) -> Answer<'a, Node> {
        self.in_turn(move || Self::untaint(self, name, uid, taints))
    }

    fn set_pool_finalizer<'a>(&'a self, pool: &'a EniPool, wanted: bool) -> Answer<'a, ()> {
        self.in_turn(move || Self::set_pool_finalizer(self, pool, wanted))
    }

    fn report_pool<'a>(&'a self, pool: &'a EniPool, status: &'a EniPoolStatus) -> Answer<'a, ()> {
        self.in_turn(move || Self::report_pool(self, pool, status))
    }

    fn publish<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(Self::publish(self, notice))
    }

    fn lease<'a>(&'a self, namespace: &'a str, name: &'a str) -> Answer<'a, Option<Lease>> {
        in_time(Self::lease(self, namespace, name))
    }

    fn write_lease<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        old: Option<&'a Lease>,
        holder: Option<&'a str>,
        duration: Duration,
        now: Timestamp,
    ) -> Answer<'a, Lease> {
        in_time(Self::write_lease(
            self, namespace, name, old, holder, duration, now,
        ))
    }
}

impl ApiServer {
    /// Waits for its turn; a lease does not, for which a leader has little time. The request is made only
    /// then, for hundreds may wait and each takes memory.
    fn in_turn<'a, T, R>(&'a self, request: impl FnOnce() -> R + Send + 'a) -> Answer<'a, T>
    where
        T: Send + 'a,
        R: Future<Output = Result<T, Error>> + Send + 'a,
    {
        Box::pin(async move {
            // Nobody closes it.
            let _slot = self.slots.acquire().await;
            started(request).await
        })
    }
}

/// Apart from who waits: a request has kilobytes of state, for which each of hundreds would keep room.
fn started<'a, T, R>(request: impl FnOnce() -> R) -> Answer<'a, T>
where
    T: 'a,
    R: Future<Output = Result<T, Error>> + Send + 'a,
{
    in_time(request())
}

/// What does not answer is asked again: a connection that died unseen must not hold a node for ever.
fn in_time<'a, T: 'a>(
    request: impl Future<Output = Result<T, Error>> + Send + 'a,
) -> Answer<'a, T> {
    Box::pin(async {
        let answer = tokio::time::timeout(TIMEOUT, request).await;
        answer.unwrap_or(Err(Error::Silent(TIMEOUT)))
    })
}

pub(super) fn post() -> PostParams {
    PostParams {
        field_manager: Some(mark::CONTROLLER.to_owned()),
        ..PostParams::default()
    }
}

pub(super) fn ours() -> PatchParams {
    PatchParams::apply(mark::CONTROLLER).force()
}
