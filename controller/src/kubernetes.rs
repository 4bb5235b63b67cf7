//! The door to the Kubernetes API: what the controller reads and writes there, in its own words.
//!
//! [`ApiServer`] is the real one, and the only place that holds a `kube::Client`.

mod api_server;
mod crds;
mod error;
mod events;
mod leases;
mod node_enis;
mod nodes;
mod pods;
mod pools;
mod records;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use eniway_api::{
    Ec2Status, EniPool, EniPoolStatus, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec,
    NodeEniStatus, RouteStatus,
};
use futures::{future::BoxFuture, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

pub use self::{
    api_server::ApiServer,
    crds::apply as apply_crds,
    error::Error,
    events::Notice,
    leases::{Lease, holding},
};
use crate::{
    desired::{Declared, Node, Taint},
    holders::Pod,
};

/// The future of an answer.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// What a watch shows, for ever.
pub type Watch<T> = BoxStream<'static, Change<T>>;

/// Kubernetes, as far as the controller needs it. Of two writers of one object, one is refused.
pub trait Kubernetes: Send + Sync + 'static {
    /// The UID of namespace kube-system, which no two clusters share.
    fn cluster_uid(&self) -> Answer<'_, String>;
    /// Whether the API server serves our definitions.
    fn check_schema(&self) -> Answer<'_, ()>;

    /// The nodes.
    fn nodes(&self) -> Watch<Node>;
    /// The NodeENIs; one that cannot be read keeps its place.
    fn node_enis(&self) -> Watch<Declared>;
    /// The records.
    fn records(&self) -> Watch<Record>;
    /// The pools.
    fn pools(&self) -> Watch<Pool>;

    /// Writes a new record. One that exists already is returned as it is, with `false`.
    fn write_record<'a>(
        &'a self,
        name: &'a str,
        spec: &'a NodeEniAttachmentSpec,
    ) -> Answer<'a, (NodeEniAttachment, bool)>;
    /// Replaces a record's spec, unless somebody changed the record since it was read.
    fn change_record<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
        spec: &'a NodeEniAttachmentSpec,
    ) -> Answer<'a, NodeEniAttachment>;
    /// Marks this very record for deletion; returned as it is then, unless it is gone at once.
    fn delete_record<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
    ) -> Answer<'a, Option<NodeEniAttachment>>;
    /// Writes the controller's half of a record's status.
    fn report<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
        ec2: &'a Ec2Status,
        ready: &'a Condition,
    ) -> Answer<'a, NodeEniAttachment>;
    /// The UIDs of all records that exist now.
    fn record_uids(&self) -> Answer<'_, BTreeSet<String>>;
    /// Lets a record go.
    fn drop_finalizer<'a>(&'a self, record: &'a NodeEniAttachment) -> Answer<'a, ()>;

    /// The pods of a node that have not ended, as they are now.
    fn pods<'a>(&'a self, node: &'a str) -> Answer<'a, Vec<Pod>>;

    /// Puts our finalizer on a NodeENI, or takes it away.
    fn set_node_eni_finalizer<'a>(&'a self, node_eni: &'a NodeEni, wanted: bool) -> Answer<'a, ()>;
    /// Writes a NodeENI's status.
    fn report_node_eni<'a>(
        &'a self,
        node_eni: &'a NodeEni,
        status: &'a NodeEniStatus,
    ) -> Answer<'a, ()>;
    /// Writes what a NodeENI's status says of routes, beside the rest of it; refused where it must be the one
    /// that was seen, and is not.
    fn report_routes<'a>(
        &'a self,
        node_eni: &'a NodeEni,
        routes: &'a [RouteStatus],
        condition: Option<&'a Condition>,
        as_seen: bool,
    ) -> Answer<'a, ()>;
    /// Sets labels of this very node to `true`, or takes them off; returned as it is then.
    fn label_node<'a>(
        &'a self,
        name: &'a str,
        uid: &'a str,
        labels: &'a BTreeMap<String, bool>,
    ) -> Answer<'a, Node>;
    /// Writes interfaces on this very node, or takes that off; returned as it is then.
    fn annotate_node<'a>(
        &'a self,
        name: &'a str,
        uid: &'a str,
        interfaces: Option<&'a str>,
    ) -> Answer<'a, Node>;
    /// Puts the taint on this very node that says that a program may have a device without an IOMMU; returned as it is
    /// then.
    fn taint<'a>(&'a self, name: &'a str, uid: &'a str) -> Answer<'a, Node>;
    /// Takes taints off this very node, unless they stand elsewhere by now; returned as it is then.
    fn untaint<'a>(&'a self, name: &'a str, uid: &'a str, taints: &'a [Taint]) -> Answer<'a, Node>;
    /// Puts our finalizer on a pool, or takes it away.
    fn set_pool_finalizer<'a>(&'a self, pool: &'a EniPool, wanted: bool) -> Answer<'a, ()>;
    /// Writes a pool's status.
    fn report_pool<'a>(&'a self, pool: &'a EniPool, status: &'a EniPoolStatus) -> Answer<'a, ()>;
    /// Tells people what happened to a NodeENI's interface. Events are best effort.
    fn publish<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()>;

    /// The lease, if there is one.
    fn lease<'a>(&'a self, namespace: &'a str, name: &'a str) -> Answer<'a, Option<Lease>>;
    /// Takes, renews or gives back (`holder: None`) a lease, unless somebody wrote it since `old`
    /// was read.
    fn write_lease<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        old: Option<&'a Lease>,
        holder: Option<&'a str>,
        duration: Duration,
        now: Timestamp,
    ) -> Answer<'a, Lease>;
}

/// A change of one kind of object.
#[derive(Clone, Debug)]
pub enum Change<T> {
    /// A whole list begins.
    Begin,
    /// The object is so now.
    Is(T),
    /// The object is gone.
    Gone(T),
    /// The list is whole: what it lacked is gone.
    Whole,
}

/// A record, or the name of one that cannot be read.
pub type Record = Result<Arc<NodeEniAttachment>, String>;

/// A pool, or the name of one that cannot be read.
pub type Pool = Result<Arc<EniPool>, String>;

/// Seconds since a time that another clock wrote; never negative.
#[must_use]
pub fn age(of: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(of)).unwrap_or_default()
}
