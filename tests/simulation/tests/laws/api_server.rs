//! An API server in a few maps: it refuses what is out of date, and its watches lag and start anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use eniway_api::{
    Ec2Status, EniPool, EniPoolStatus, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec,
    NodeEniStatus, RouteStatus, conditions::ROUTES_READY, mark,
};
use eniway_controller::{
    desired::{Declared, Node, Taint},
    holders::Pod,
    kubernetes::{Answer, Change, Error, Kubernetes, Lease, Notice, Pool, Record, Watch, holding},
};
use futures::{StreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::ResourceExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    clock,
    store::{Store, declared, readable, refusal, wrote},
    weather::{Fate, Weather},
};

/// The server, as one process reaches it.
#[derive(Clone)]
pub(crate) struct ApiServer {
    store: Arc<Mutex<Store>>,
    weather: Weather,
}

impl ApiServer {
    pub(crate) fn new(weather: &Weather) -> Self {
        Self {
            store: Arc::default(),
            weather: weather.clone(),
        }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries a write out, unless the weather has it otherwise.
    pub(crate) async fn write<T>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, kube::Error>,
    ) -> Result<T, kube::Error> {
        let (fate, delay) = self.weather.fate();
        tokio::time::sleep(delay / 2).await;
        if fate == Fate::Refused {
            return Err(refusal(503));
        }
        let result = work(&mut self.store());
        tokio::time::sleep(delay / 2).await;
        if fate == Fate::Lost {
            return Err(refusal(500));
        }
        result
    }

    /// A watch of what `list` lists and `register` tells of; it lags, repeats itself and starts anew.
    fn watch<T: Clone + Send + 'static>(
        &self,
        list: fn(&Store) -> Vec<T>,
        register: fn(&mut Store) -> &mut Vec<UnboundedSender<Change<T>>>,
    ) -> Watch<T> {
        type Source<T> = (ApiServer, Option<UnboundedReceiver<Change<T>>>);
        let source: Source<T> = (self.clone(), None);
        let batches = stream::unfold(source, move |(server, receiver)| async move {
            let broken = server.weather.once_in(60);
            let Some(mut receiver) = receiver.filter(|_| !broken) else {
                tokio::time::sleep(server.weather.lag()).await;
                let (sender, receiver) = unbounded_channel();
                let mut batch = vec![Change::Begin];
                {
                    let mut store = server.store();
                    batch.extend(list(&store).into_iter().map(Change::Is));
                    register(&mut store).push(sender);
                }
                batch.push(Change::Whole);
                return Some((batch, (server, Some(receiver))));
            };
            let change = receiver.recv().await?;
            tokio::time::sleep(server.weather.lag()).await;
            let twice = server.weather.once_in(20) && matches!(change, Change::Is(_));
            let batch = if twice {
                vec![change.clone(), change]
            } else {
                vec![change]
            };
            Some((batch, (server, Some(receiver))))
        });
        batches.flat_map(stream::iter).boxed()
    }
}

fn found<'a>(
    store: &'a Store,
    record: &NodeEniAttachment,
) -> Result<&'a NodeEniAttachment, kube::Error> {
    let stored = store
        .records
        .get(&record.name_any())
        .ok_or_else(|| refusal(404))?;
    if stored.uid() == record.uid() {
        Ok(stored)
    } else {
        Err(refusal(409))
    }
}

impl Kubernetes for ApiServer {
    fn cluster_uid(&self) -> Answer<'_, String> {
        Box::pin(async { Ok("cluster-uid".to_owned()) })
    }

    fn check_schema(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn nodes(&self) -> Watch<Node> {
        self.watch(
            |store| store.nodes.values().cloned().collect(),
            |store| &mut store.node_watches,
        )
    }

    fn node_enis(&self) -> Watch<Declared> {
        self.watch(
            |store| store.node_enis.values().map(declared).collect(),
            |store| &mut store.node_eni_watches,
        )
    }

    fn records(&self) -> Watch<Record> {
        self.watch(
            |store| store.records.values().map(readable).collect(),
            |store| &mut store.record_watches,
        )
    }

    fn pools(&self) -> Watch<Pool> {
        self.watch(
            |store| {
                store
                    .pools
                    .values()
                    .map(|p| Ok(Arc::new(p.clone())))
                    .collect()
            },
            |store| &mut store.pool_watches,
        )
    }

    fn write_record<'a>(
        &'a self,
        name: &'a str,
        spec: &'a NodeEniAttachmentSpec,
    ) -> Answer<'a, (NodeEniAttachment, bool)> {
        Box::pin(async move {
            let written = self.write(|store| {
                if let Some(record) = store.records.get(name) {
                    return Ok((record.clone(), false));
                }
                let mut record = NodeEniAttachment::new(name, spec.clone());
                record.metadata.uid = Some(format!("record-{}", store.version + 1));
                record.metadata.generation = Some(1);
                record.metadata.creation_timestamp = Some(Time(clock::wall()));
                record.metadata.finalizers = Some(vec![mark::FINALIZER_ATTACHMENT.to_owned()]);
                record.metadata.owner_references = Some(vec![OwnerReference {
                    uid: spec.node_eni.uid.clone(),
                    ..OwnerReference::default()
                }]);
                Ok((store.put_record(record), true))
            });
            written.await.map_err(|source| Error::WriteRecord {
                name: name.to_owned(),
                source,
            })
        })
    }

    fn change_record<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
        spec: &'a NodeEniAttachmentSpec,
    ) -> Answer<'a, NodeEniAttachment> {
        Box::pin(async move {
            let written = self.write(|store| {
                let mut stored = found(store, record)?.clone();
                if stored.resource_version() != record.resource_version() {
                    return Err(refusal(409));
                }
                stored.spec = spec.clone();
                stored.metadata.generation = stored.metadata.generation.map(|g| g + 1);
                Ok(store.put_record(stored))
            });
            written.await.map_err(|source| Error::ChangeRecord {
                name: record.name_any(),
                source,
            })
        })
    }

    fn delete_record<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
    ) -> Answer<'a, Option<NodeEniAttachment>> {
        Box::pin(async move {
            let written = self.write(|store| {
                let name = found(store, record)?.name_any();
                store.mark_record(&name);
                Ok(store.records.get(&name).cloned())
            });
            written.await.map_err(|source| Error::DeleteRecord {
                name: record.name_any(),
                source,
            })
        })
    }

    fn report<'a>(
        &'a self,
        record: &'a NodeEniAttachment,
        ec2: &'a Ec2Status,
        ready: &'a Condition,
    ) -> Answer<'a, NodeEniAttachment> {
        Box::pin(async move {
            let written = self.write(|store| {
                let mut stored = found(store, record)?.clone();
                if stored.resource_version() != record.resource_version() {
                    return Err(refusal(409));
                }
                let status = stored.status.get_or_insert_default();
                status.ec2 = Some(ec2.clone());
                status.conditions = vec![ready.clone()];
                Ok(store.put_record(stored))
            });
            written.await.map_err(|source| Error::Report {
                name: record.name_any(),
                source,
            })
        })
    }

    fn record_uids(&self) -> Answer<'_, BTreeSet<String>> {
        Box::pin(async {
            let read =
                self.write(|store| Ok(store.records().filter_map(ResourceExt::uid).collect()));
            read.await.map_err(Error::ListRecords)
        })
    }

    fn pods<'a>(&'a self, node: &'a str) -> Answer<'a, Vec<Pod>> {
        Box::pin(async move {
            let read = self.write(|store| Ok(store.pods.get(node).cloned().unwrap_or_default()));
            read.await.map_err(|source| Error::ListPods {
                node: node.to_owned(),
                source,
            })
        })
    }

    fn drop_finalizer<'a>(&'a self, record: &'a NodeEniAttachment) -> Answer<'a, ()> {
        Box::pin(async move {
            let written = self.write(|store| {
                let mut stored = match found(store, record) {
                    Ok(stored) => stored.clone(),
                    Err(_) => return Ok(()),
                };
                if stored.resource_version() != record.resource_version() {
                    return Err(refusal(409));
                }
                let kept = stored.finalizers_mut();
                kept.retain(|finalizer| finalizer != mark::FINALIZER_ATTACHMENT);
                store.put_record(stored);
                Ok(())
            });
            written.await.map_err(|source| Error::DropFinalizer {
                name: record.name_any(),
                source,
            })
        })
    }

    fn set_node_eni_finalizer<'a>(&'a self, node_eni: &'a NodeEni, wanted: bool) -> Answer<'a, ()> {
        Box::pin(async move {
            let name = node_eni.name_any();
            let written = self.write(|store| {
                let Some(mut stored) = store.node_enis.get(&name).cloned() else {
                    return if wanted { Err(refusal(404)) } else { Ok(()) };
                };
                if stored.resource_version() != node_eni.resource_version() {
                    return Err(refusal(409));
                }
                let kept = stored.finalizers_mut();
                kept.retain(|finalizer| finalizer != mark::FINALIZER_NODE_ENI);
                if wanted {
                    kept.push(mark::FINALIZER_NODE_ENI.to_owned());
                }
                stored.metadata.resource_version = Some(store.next());
                store.put_node_eni(stored);
                Ok(())
            });
            written.await.map_err(|source| Error::NodeEniFinalizer {
                name: node_eni.name_any(),
                source,
            })
        })
    }

    fn report_node_eni<'a>(
        &'a self,
        node_eni: &'a NodeEni,
        status: &'a NodeEniStatus,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let name = node_eni.name_any();
            let written = self.write(|store| {
                let stored = store.node_enis.get(&name).cloned();
                let mut stored = stored.ok_or_else(|| refusal(404))?;
                if stored.uid() != node_eni.uid() {
                    return Err(refusal(409));
                }
                // What is said of routes has a writer of its own.
                let old = stored.status.take().unwrap_or_default();
                let mut status = status.clone();
                status.routes = old.routes;
                let routes = old.conditions.into_iter();
                let routes = routes.filter(|one| one.type_ == ROUTES_READY);
                status.conditions.extend(routes);
                stored.status = Some(status);
                stored.metadata.resource_version = Some(store.next());
                store.put_node_eni(stored);
                Ok(())
            });
            written.await.map_err(|source| Error::NodeEniStatus {
                name: node_eni.name_any(),
                source,
            })
        })
    }

    fn report_routes<'a>(
        &'a self,
        node_eni: &'a NodeEni,
        routes: &'a [RouteStatus],
        condition: Option<&'a Condition>,
        as_seen: bool,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let name = node_eni.name_any();
            let written = self.write(|store| {
                let stored = store.node_enis.get(&name).cloned();
                let mut stored = stored.ok_or_else(|| refusal(404))?;
                let newer = stored.resource_version() != node_eni.resource_version();
                if stored.uid() != node_eni.uid() || as_seen && newer {
                    return Err(refusal(409));
                }
                let status = stored.status.get_or_insert_default();
                status.routes = routes.to_vec();
                status.conditions.retain(|one| one.type_ != ROUTES_READY);
                status.conditions.extend(condition.cloned());
                stored.metadata.resource_version = Some(store.next());
                store.put_node_eni(stored);
                Ok(())
            });
            written.await.map_err(|source| Error::NodeEniStatus {
                name: node_eni.name_any(),
                source,
            })
        })
    }

    fn set_pool_finalizer<'a>(&'a self, pool: &'a EniPool, wanted: bool) -> Answer<'a, ()> {
        Box::pin(async move {
            let name = pool.name_any();
            let written = self.write(|store| {
                let Some(mut stored) = store.pools.get(&name).cloned() else {
                    return if wanted { Err(refusal(404)) } else { Ok(()) };
                };
                if stored.resource_version() != pool.resource_version() {
                    return Err(refusal(409));
                }
                let kept = stored.finalizers_mut();
                kept.retain(|finalizer| finalizer != mark::FINALIZER_POOL);
                if wanted {
                    kept.push(mark::FINALIZER_POOL.to_owned());
                }
                store.put_pool(stored);
                Ok(())
            });
            written.await.map_err(|source| Error::PoolFinalizer {
                name: pool.name_any(),
                source,
            })
        })
    }

    fn label_node<'a>(
        &'a self,
        name: &'a str,
        uid: &'a str,
        labels: &'a BTreeMap<String, bool>,
    ) -> Answer<'a, Node> {
        let failed = |name, source| Error::LabelNode { name, source };
        self.on_node(name, failed, move |store| {
            store.label_node(name, uid, labels)
        })
    }

    fn annotate_node<'a>(
        &'a self,
        name: &'a str,
        uid: &'a str,
        interfaces: Option<&'a str>,
    ) -> Answer<'a, Node> {
        let failed = |name, source| Error::AnnotateNode { name, source };
        let work = move |store: &mut Store| store.annotate_node(name, uid, interfaces);
        self.on_node(name, failed, work)
    }

    fn taint<'a>(&'a self, name: &'a str, uid: &'a str) -> Answer<'a, Node> {
        let failed = |name, source| Error::Taint { name, source };
        self.on_node(name, failed, move |store| store.taint(name, uid))
    }

    fn untaint<'a>(&'a self, name: &'a str, uid: &'a str, taints: &'a [Taint]) -> Answer<'a, Node> {
        let failed = |name, source| Error::Untaint { name, source };
        self.on_node(name, failed, move |store| store.untaint(name, uid, taints))
    }

    fn report_pool<'a>(&'a self, pool: &'a EniPool, status: &'a EniPoolStatus) -> Answer<'a, ()> {
        Box::pin(async move {
            let written = self.write(|store| {
                let stored = store.pools.get(&pool.name_any()).cloned();
                let mut stored = stored.ok_or_else(|| refusal(404))?;
                if stored.uid() != pool.uid() {
                    return Err(refusal(409));
                }
                stored.status = Some(status.clone());
                store.put_pool(stored);
                Ok(())
            });
            written.await.map_err(|source| Error::PoolStatus {
                name: pool.name_any(),
                source,
            })
        })
    }

    fn publish<'a>(&'a self, _: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn lease<'a>(&'a self, _: &'a str, name: &'a str) -> Answer<'a, Option<Lease>> {
        Box::pin(async move {
            let read = self.write(|store| Ok(store.leases.get(name).cloned().map(Lease::from)));
            read.await.map_err(|source| Error::ReadLease {
                name: name.to_owned(),
                source,
            })
        })
    }

    fn write_lease<'a>(
        &'a self,
        _: &'a str,
        name: &'a str,
        old: Option<&'a Lease>,
        holder: Option<&'a str>,
        duration: Duration,
        now: Timestamp,
    ) -> Answer<'a, Lease> {
        Box::pin(async move {
            let mut object = holding(old, name, holder, duration, now);
            let written = self.write(|store| {
                let stored = store.leases.get(name);
                let same =
                    stored.and_then(ResourceExt::resource_version) == object.resource_version();
                if !same {
                    return Err(refusal(409));
                }
                object.metadata.resource_version = Some(wrote(store.leases.get(name)));
                store.leases.insert(name.to_owned(), object.clone());
                Ok(Lease::from(object))
            });
            written.await.map_err(|source| Error::WriteLease {
                name: name.to_owned(),
                source,
            })
        })
    }
}
