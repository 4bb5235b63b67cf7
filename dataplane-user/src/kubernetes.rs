//! The door to the API server: this node's records, their status, and the agent's heartbeat.

use std::{path::PathBuf, time::Duration};

use eniway_api::{InstanceId, NodeEniAttachment, NodeStatus, mark};
use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Config, Resource as _,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, ObjectMeta},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tracing::warn;

use crate::{apply::Chain, desired::Record};

/// How often the agent says that it is alive. The controller takes five minutes of silence for death.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// The longest wait for one answer; then the request is made again.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read the kubeconfig {path}")]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: kube::config::KubeconfigError,
    },
    #[error("find out how to reach the API server")]
    Infer(#[source] kube::config::InferConfigError),
    #[error("make a client of the API server")]
    Client(#[source] kube::Error),
    #[error("read node {node}")]
    Node {
        node: String,
        #[source]
        source: kube::Error,
    },
    #[error(
        "node {node} has the provider ID `{provider_id}`, which names no EC2 instance; set \
         --instance-id, or wait for the cloud controller manager"
    )]
    NoInstance { node: String, provider_id: String },
    #[error("write the status of record {record}")]
    Status {
        record: String,
        #[source]
        source: kube::Error,
    },
    #[error("renew lease {lease}")]
    Lease {
        lease: String,
        #[source]
        source: kube::Error,
    },
    #[error("no answer from the API server within {} s", TIMEOUT.as_secs())]
    Timeout(#[source] tokio::time::error::Elapsed),
}

/// What has changed among this node's records.
#[derive(Debug)]
pub enum Change {
    /// These are all there are.
    Replaced(Vec<Record>),
    Applied(Record),
    Deleted(String),
}

/// The API server, as the agent of one node sees it.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    node: String,
    namespace: String,
}

impl Kubernetes {
    pub async fn connect(
        kubeconfig: Option<PathBuf>,
        node: String,
        namespace: String,
    ) -> Result<Self, Error> {
        let config = match kubeconfig {
            Some(path) => {
                let explain = |source| Error::Kubeconfig {
                    path: path.clone(),
                    source,
                };
                let file = Kubeconfig::read_from(&path).map_err(explain)?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(explain)?
            }
            None => Config::infer().await.map_err(Error::Infer)?,
        };
        Ok(Self {
            client: Client::try_from(config).map_err(Error::Client)?,
            node,
            namespace,
        })
    }

    /// The instance this node is.
    pub async fn instance(&self) -> Result<InstanceId, Error> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node = answered(nodes.get(&self.node), |source| Error::Node {
            node: self.node.clone(),
            source,
        })
        .await?;
        let provider_id = node.spec.and_then(|spec| spec.provider_id);
        let provider_id = provider_id.unwrap_or_default();
        instance_in(&provider_id).ok_or_else(|| Error::NoInstance {
            node: self.node.clone(),
            provider_id,
        })
    }

    /// The changes of this node's records: at first, and after every interruption, all of them.
    ///
    /// Never ends: an error is logged and the watch begun anew, ever slower while errors last.
    pub fn changes(&self) -> impl Stream<Item = Change> + use<> {
        let of_this_node =
            watcher::Config::default().fields(&format!("spec.nodeName={}", self.node));
        let events = watcher(self.records(), of_this_node).default_backoff();
        let mut listed = Vec::new();
        events.filter_map(move |event| {
            let change = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    None
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed.push(Record::decode(object));
                    None
                }
                Ok(watcher::Event::InitDone) => Some(Change::Replaced(std::mem::take(&mut listed))),
                Ok(watcher::Event::Apply(object)) => Some(Change::Applied(Record::decode(object))),
                Ok(watcher::Event::Delete(object)) => {
                    Some(Change::Deleted(object.metadata.name.unwrap_or_default()))
                }
                Err(error) => {
                    warn!(error = %Chain(&error), "Watch interrupted");
                    None
                }
            };
            async { change }
        })
    }

    /// Writes the agent's half of a record's status. A record that is gone, or another one of the same
    /// name, is left alone.
    pub async fn write_status(&self, record: &Record, status: &NodeStatus) -> Result<(), Error> {
        let (name, uid) = (record.name(), record.uid());
        let patch = json!({
            "apiVersion": NodeEniAttachment::api_version(&()),
            "kind": NodeEniAttachment::kind(&()),
            // The UID is a condition: the API server refuses the patch of another record.
            "metadata": {"name": name, "uid": uid},
            "status": {"node": status},
        });
        let records = self.records();
        let params = PatchParams::apply(mark::AGENT).force();
        let patch = Patch::Apply(&patch);
        let written = records.patch_status(&name, &params, &patch);
        let failed = |source| Error::Status {
            record: name.clone(),
            source,
        };
        match answered(written, failed).await {
            Err(Error::Status {
                source: kube::Error::Api(answer),
                ..
            }) if matches!(answer.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Says that the agent is alive.
    pub async fn renew_lease(&self) -> Result<(), Error> {
        let name = mark::agent_lease(&self.node);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.node.clone()),
                lease_duration_seconds: Some(40),
                renew_time: Some(MicroTime(jiff::Timestamp::now())),
                ..LeaseSpec::default()
            }),
        };
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = PatchParams::apply(mark::AGENT).force();
        let patch = Patch::Apply(&lease);
        let renewed = leases.patch(&name, &params, &patch);
        let failed = |source| Error::Lease {
            lease: name.clone(),
            source,
        };
        answered(renewed, failed).await.map(drop)
    }

    /// Untyped, so that each record is decoded on its own.
    fn records(&self) -> Api<DynamicObject> {
        Api::all_with(
            self.client.clone(),
            &ApiResource::erase::<NodeEniAttachment>(&()),
        )
    }
}

async fn answered<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
    failed: impl FnOnce(kube::Error) -> Error,
) -> Result<T, Error> {
    let answer = tokio::time::timeout(TIMEOUT, request).await;
    answer.map_err(Error::Timeout)?.map_err(failed)
}

/// The instance in a provider ID: `aws:///us-east-1a/i-0123456789abcdef0`.
fn instance_in(provider_id: &str) -> Option<InstanceId> {
    let path = provider_id.strip_prefix("aws://")?;
    let (_, instance) = path.rsplit_once('/')?;
    instance
        .starts_with("i-")
        .then(|| InstanceId::from(instance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ec2_provider_id_names_an_instance() {
        let check = |text: &str| instance_in(text).map(|id| id.to_string());
        assert_eq!(check("aws:///us-east-1a/i-0ab").as_deref(), Some("i-0ab"));
        assert_eq!(check("aws://us-east-1a/i-0ab").as_deref(), Some("i-0ab"));
        for other in [
            "",
            "aws:///us-east-1a/fargate-10.0.0.1",
            "gce://p/z/i-0ab",
            "i-0ab",
        ] {
            assert_eq!(check(other), None, "{other}");
        }
    }
}
