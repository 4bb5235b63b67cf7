//! What the simulated API server holds: versions, finalizers, owners, and who watches.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eniway_api::{EniPool, NodeEni, NodeEniAttachment, NodeStatus, mark};
use eniway_controller::{
    desired::{Declared, Node},
    holders::Pod,
    kubernetes::{Change, Pool, Record, holding},
};
use k8s_openapi::{
    api::coordination::v1::Lease as KubeLease, apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{ResourceExt, core::Status};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) version: u64,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) node_enis: BTreeMap<String, NodeEni>,
    pub(crate) records: BTreeMap<String, NodeEniAttachment>,
    /// By node.
    pub(crate) pods: BTreeMap<String, Vec<Pod>>,
    pub(crate) pools: BTreeMap<String, EniPool>,
    pub(crate) leases: BTreeMap<String, KubeLease>,
    pub(crate) node_watches: Vec<UnboundedSender<Change<Node>>>,
    pub(crate) node_eni_watches: Vec<UnboundedSender<Change<Declared>>>,
    pub(crate) record_watches: Vec<UnboundedSender<Change<Record>>>,
    pub(crate) pool_watches: Vec<UnboundedSender<Change<Pool>>>,
}

pub(crate) fn refusal(code: u16) -> kube::Error {
    kube::Error::Api(Status::failure("by the model", "").with_code(code).boxed())
}

fn tell<T: Clone>(watches: &mut Vec<UnboundedSender<Change<T>>>, change: &Change<T>) {
    watches.retain(|watch| watch.send(change.clone()).is_ok());
}

pub(crate) fn readable(record: &NodeEniAttachment) -> Record {
    Ok(Arc::new(record.clone()))
}

pub(crate) fn declared(node_eni: &NodeEni) -> Declared {
    Declared::Readable(Arc::new(node_eni.clone()))
}

impl Store {
    pub(crate) fn next(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub(crate) fn node_enis(&self) -> impl Iterator<Item = &NodeEni> {
        self.node_enis.values()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &NodeEniAttachment> {
        self.records.values()
    }

    /// How often an object was written, leases left out.
    pub(crate) fn writes(&self) -> u64 {
        self.version
    }

    pub(crate) fn holder(&self) -> Option<String> {
        let lease = self.leases.get(mark::LEASE_CONTROLLER)?;
        lease.spec.as_ref()?.holder_identity.clone()
    }

    pub(crate) fn put_node(&mut self, mut node: Node) -> Node {
        self.version += 1;
        node.version = self.version;
        tell(&mut self.node_watches, &Change::Is(node.clone()));
        self.nodes.insert(node.name.clone(), node.clone());
        node
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        if let Some(node) = self.nodes.remove(name) {
            self.version += 1;
            tell(&mut self.node_watches, &Change::Gone(node));
        }
    }

    /// What a user applies: a new object, or another spec for an old one.
    pub(crate) fn wish(&mut self, mut node_eni: NodeEni) {
        let version = self.next();
        let name = node_eni.name_any();
        if let Some(old) = self.node_enis.get(&name) {
            let spec = node_eni.spec;
            node_eni = old.clone();
            node_eni.spec = spec;
            node_eni.metadata.generation = old.metadata.generation.map(|g| g + 1);
        } else {
            node_eni.metadata.uid = Some(format!("node-eni-{version}"));
            node_eni.metadata.generation = Some(1);
        }
        node_eni.metadata.resource_version = Some(version);
        self.put_node_eni(node_eni);
    }

    pub(crate) fn annotate(&mut self, name: &str, key: &str, value: &str) {
        if let Some(mut node_eni) = self.node_enis.get(name).cloned() {
            let annotations = node_eni.annotations_mut();
            annotations.insert(key.to_owned(), value.to_owned());
            node_eni.metadata.resource_version = Some(self.next());
            self.put_node_eni(node_eni);
        }
    }

    pub(crate) fn unwish(&mut self, name: &str) {
        if let Some(mut node_eni) = self.node_enis.get(name).cloned() {
            node_eni.metadata.resource_version = Some(self.next());
            node_eni.metadata.deletion_timestamp = Some(Time(clock::wall()));
            self.put_node_eni(node_eni);
        }
    }

    /// An object that is marked and that nobody keeps is gone.
    pub(crate) fn put_node_eni(&mut self, node_eni: NodeEni) {
        let name = node_eni.name_any();
        let kept =
            node_eni.metadata.deletion_timestamp.is_none() || !node_eni.finalizers().is_empty();
        if kept {
            tell(&mut self.node_eni_watches, &Change::Is(declared(&node_eni)));
            self.node_enis.insert(name, node_eni);
            return;
        }
        self.node_enis.remove(&name);
        tell(
            &mut self.node_eni_watches,
            &Change::Gone(declared(&node_eni)),
        );
        // The garbage collector marks what the object owned.
        let owned: Vec<_> = self
            .records
            .values()
            .filter(|record| Some(&record.spec.node_eni.uid) == node_eni.metadata.uid.as_ref())
            .map(ResourceExt::name_any)
            .collect();
        for record in owned {
            self.mark_record(&record);
        }
    }

    pub(crate) fn mark_record(&mut self, name: &str) {
        if let Some(mut record) = self.records.get(name).cloned()
            && record.metadata.deletion_timestamp.is_none()
        {
            record.metadata.deletion_timestamp = Some(Time(clock::wall()));
            self.put_record(record);
        }
    }

    pub(crate) fn put_record(&mut self, mut record: NodeEniAttachment) -> NodeEniAttachment {
        record.metadata.resource_version = Some(self.next());
        let kept = record.metadata.deletion_timestamp.is_none() || !record.finalizers().is_empty();
        let change = if kept {
            self.records.insert(record.name_any(), record.clone());
            Change::Is(readable(&record))
        } else {
            self.records.remove(&record.name_any());
            Change::Gone(readable(&record))
        };
        tell(&mut self.record_watches, &change);
        record
    }

    /// What the node's agent says of a record.
    pub(crate) fn put_node_status(&mut self, name: &str, node: NodeStatus) {
        if let Some(mut record) = self.records.get(name).cloned() {
            record.status.get_or_insert_default().node = Some(node);
            self.put_record(record);
        }
    }

    /// A pool as it is now; one that is marked and that nobody keeps is gone.
    pub(crate) fn put_pool(&mut self, mut pool: EniPool) {
        pool.metadata.resource_version = Some(self.next());
        let kept = pool.metadata.deletion_timestamp.is_none() || !pool.finalizers().is_empty();
        let shared = Ok(Arc::new(pool.clone()));
        if kept {
            self.pools.insert(pool.name_any(), pool);
            tell(&mut self.pool_watches, &Change::Is(shared));
        } else {
            self.pools.remove(&pool.name_any());
            tell(&mut self.pool_watches, &Change::Gone(shared));
        }
    }

    pub(crate) fn put_lease(&mut self, name: &str, holder: &str) {
        let duration = Duration::from_secs(60);
        let lease = holding(None, name, Some(holder), duration, clock::wall());
        self.leases.insert(name.to_owned(), lease);
    }
}

/// The version of a lease after one more write.
pub(crate) fn wrote(old: Option<&KubeLease>) -> String {
    let version = old.and_then(ResourceExt::resource_version);
    let version = version.and_then(|version| version.parse::<u64>().ok());
    (version.unwrap_or(0) + 1).to_string()
}
