//! What the API server shows, as a stream of changes. One object that cannot be read stalls nothing.

use std::{sync::Arc, time::Duration};

use backon::ExponentialBuilder;
use eniway_api::{NodeEni, NodeEniAttachment, mark};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::{
    Api, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, ExponentialBackoff, watcher},
    },
};
use tracing::warn;

use super::{ApiServer, Change, Record, records::slim};
use crate::desired::{Declared, Node, Taint, matters, provider};

pub(super) fn change<T, U>(event: Event<T>, convert: impl FnOnce(T) -> U) -> Change<U> {
    match event {
        Event::Init => Change::Begin,
        Event::InitApply(object) | Event::Apply(object) => Change::Is(convert(object)),
        Event::Delete(object) => Change::Gone(convert(object)),
        Event::InitDone => Change::Whole,
    }
}

pub(super) fn stream<K>(api: Api<K>) -> impl Stream<Item = Event<K>> + Send
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(api, watcher::Config::default())
        .backoff(backoff())
        .filter_map(|result| async {
            result
                .inspect_err(|error| warn!(%error, "Watch failed, trying again"))
                .ok()
        })
}

/// Two controllers are no herd: they need not stay away from an API server that is back.
fn backoff() -> ExponentialBackoff {
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times();
    delays.into()
}

impl ApiServer {
    pub(super) fn watch_nodes(&self) -> impl Stream<Item = Change<Node>> + Send + use<> {
        stream(self.nodes.clone()).map(|event| change(event, node))
    }

    pub(super) fn watch_node_enis(&self) -> impl Stream<Item = Change<Declared>> + Send + use<> {
        let api: Api<DeserializeGuard<NodeEni>> = Api::all(self.client.clone());
        stream(api).map(|event| {
            change(event, |DeserializeGuard(object)| match object {
                Ok(node_eni) => Declared::Readable(Arc::new(node_eni)),
                Err(invalid) => {
                    let name = invalid.metadata.name.unwrap_or_default();
                    warn!(name, error = invalid.error, "NodeENI cannot be read");
                    Declared::Unreadable {
                        name,
                        uid: invalid.metadata.uid.unwrap_or_default(),
                        why: invalid.error,
                    }
                }
            })
        })
    }

    pub(super) fn watch_records(&self) -> impl Stream<Item = Change<Record>> + Send + use<> {
        let api: Api<DeserializeGuard<NodeEniAttachment>> = Api::all(self.client.clone());
        stream(api).map(|event| {
            change(event, |guard| match guard.0 {
                Ok(record) => Ok(Arc::new(slim(record))),
                Err(invalid) => {
                    let name = invalid.metadata.name.unwrap_or_default();
                    warn!(name, error = invalid.error, "Record cannot be read");
                    Err(name)
                }
            })
        })
    }
}

/// What of a node is in use.
pub(super) fn node(node: KubeNode) -> Node {
    let version = node.resource_version().and_then(|text| text.parse().ok());
    let labels = node.metadata.labels.unwrap_or_default();
    let annotations = node.metadata.annotations.as_ref();
    let interfaces = annotations.and_then(|all| all.get(mark::ANNOTATION_INTERFACES).cloned());
    let spec = node.spec.unwrap_or_default();
    let taints = spec.taints.unwrap_or_default();
    let taints = taints.into_iter().enumerate().map(|(index, taint)| Taint {
        index,
        key: taint.key,
        effect: taint.effect,
    });
    let capacity = node.status.and_then(|status| status.capacity);
    let max_pods = capacity.and_then(|capacity| capacity.get("pods")?.0.parse().ok());
    Node {
        max_pods,
        provider: provider(spec.provider_id.as_deref(), &labels),
        name: node.metadata.name.unwrap_or_default(),
        uid: node.metadata.uid.unwrap_or_default(),
        version: version.unwrap_or(0),
        labels,
        taints: taints.filter(matters).collect(),
        interfaces,
    }
}
