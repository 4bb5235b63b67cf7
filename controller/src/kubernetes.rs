//! The door to the Kubernetes API: the one place that holds a `kube::Client`.

mod crds;
mod error;
mod events;
mod leases;
mod watch;

use std::sync::Arc;

use eniway_api::{
    Ec2Status, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec, NodeEniStatus, mark,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, Node},
    apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference},
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::ObjectMeta,
    runtime::events::{Recorder, Reporter},
};
use serde_json::json;

pub(crate) use self::watch::{Change, Record, watch_node_enis, watch_nodes, watch_records};
pub use self::{crds::apply as apply_crds, error::Error, events::Notice, leases::Lease};

/// The API server, as far as the controller needs it.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    records: Api<NodeEniAttachment>,
    node_enis: Api<NodeEni>,
    nodes: Api<Node>,
    recorder: Arc<Recorder>,
}

impl Kubernetes {
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
            nodes: Api::all(client.clone()),
            recorder: Arc::new(Recorder::new(client.clone(), reporter)),
            client,
        }
    }

    /// The UID of namespace kube-system, which no two clusters share.
    pub async fn cluster_uid(&self) -> Result<String, Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = namespaces
            .get("kube-system")
            .await
            .map_err(Error::ClusterUid)?;
        namespace.uid().ok_or(Error::NoClusterUid)
    }

    /// Whether the API server serves our definitions.
    pub async fn check_schema(&self) -> Result<(), Error> {
        self.records
            .list(&ListParams::default().limit(1))
            .await
            .map_err(Error::Schema)?;
        crds::check(&self.client).await
    }

    /// Writes a new record. One that exists already is returned as it is, with `false`.
    pub async fn write_record(
        &self,
        name: &str,
        spec: &NodeEniAttachmentSpec,
    ) -> Result<(NodeEniAttachment, bool), Error> {
        let record = NodeEniAttachment {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                finalizers: Some(vec![mark::FINALIZER_ATTACHMENT.to_owned()]),
                owner_references: Some(vec![OwnerReference {
                    api_version: NodeEni::api_version(&()).into_owned(),
                    kind: NodeEni::kind(&()).into_owned(),
                    name: spec.node_eni.name.clone(),
                    uid: spec.node_eni.uid.clone(),
                    controller: Some(true),
                    block_owner_deletion: None,
                }]),
                ..ObjectMeta::default()
            },
            spec: spec.clone(),
            status: None,
        };
        let failed = |source| Error::WriteRecord {
            name: name.to_owned(),
            source,
        };
        match self.records.create(&post(), &record).await {
            Ok(record) => Ok((record, true)),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let record = self.records.get(name).await.map_err(failed)?;
                Ok((record, false))
            }
            Err(source) => Err(failed(source)),
        }
    }

    /// Replaces a record's spec, unless somebody changed the record since it was read.
    pub async fn change_record(
        &self,
        record: &NodeEniAttachment,
        spec: &NodeEniAttachmentSpec,
    ) -> Result<NodeEniAttachment, Error> {
        let name = record.name_any();
        let mut changed = record.clone();
        changed.spec = spec.clone();
        self.records
            .replace(&name, &post(), &changed)
            .await
            .map_err(|source| Error::ChangeRecord { name, source })
    }

    /// Marks this very record for deletion.
    pub async fn delete_record(&self, record: &NodeEniAttachment) -> Result<(), Error> {
        let name = record.name_any();
        let this = DeleteParams {
            preconditions: Some(Preconditions {
                uid: record.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.records.delete(&name, &this).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(Error::DeleteRecord { name, source }),
        }
    }

    /// Writes the controller's half of a record's status.
    pub async fn report(
        &self,
        record: &NodeEniAttachment,
        ec2: &Ec2Status,
        ready: &Condition,
    ) -> Result<NodeEniAttachment, Error> {
        let name = record.name_any();
        // With the UID, a record of the same name that was made anew is not touched.
        let body = json!({
            "apiVersion": NodeEniAttachment::api_version(&()),
            "kind": NodeEniAttachment::kind(&()),
            "metadata": {"name": name, "uid": record.uid()},
            "status": {"ec2": ec2, "conditions": [ready]},
        });
        self.records
            .patch_status(&name, &ours(), &Patch::Apply(&body))
            .await
            .map_err(|source| Error::Report { name, source })
    }

    /// Lets a record go.
    pub async fn drop_finalizer(&self, record: &NodeEniAttachment) -> Result<(), Error> {
        let name = record.name_any();
        let finalizers: Vec<_> = record
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != mark::FINALIZER_ATTACHMENT)
            .collect();
        let body = json!({"metadata": {"uid": record.uid(), "finalizers": finalizers,
            "resourceVersion": record.resource_version()}});
        match self
            .records
            .patch(&name, &PatchParams::default(), &Patch::Merge(&body))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(Error::DropFinalizer { name, source }),
        }
    }

    /// Puts our finalizer on a NodeENI, or takes it away.
    pub async fn set_node_eni_finalizer(
        &self,
        node_eni: &NodeEni,
        wanted: bool,
    ) -> Result<(), Error> {
        let name = node_eni.name_any();
        let mut finalizers: Vec<_> = node_eni
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != mark::FINALIZER_NODE_ENI)
            .map(String::as_str)
            .collect();
        if wanted {
            finalizers.push(mark::FINALIZER_NODE_ENI);
        }
        let body = json!({"metadata": {"finalizers": finalizers,
            "resourceVersion": node_eni.resource_version()}});
        match self
            .node_enis
            .patch(&name, &PatchParams::default(), &Patch::Merge(&body))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 && !wanted => Ok(()),
            Err(source) => Err(Error::NodeEniFinalizer { name, source }),
        }
    }

    /// Writes a NodeENI's status.
    pub async fn report_node_eni(
        &self,
        node_eni: &NodeEni,
        status: &NodeEniStatus,
    ) -> Result<(), Error> {
        let name = node_eni.name_any();
        let body = json!({
            "apiVersion": NodeEni::api_version(&()),
            "kind": NodeEni::kind(&()),
            "metadata": {"name": name, "uid": node_eni.uid()},
            "status": status,
        });
        self.node_enis
            .patch_status(&name, &ours(), &Patch::Apply(&body))
            .await
            .map_err(|source| Error::NodeEniStatus { name, source })?;
        Ok(())
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(mark::CONTROLLER.to_owned()),
        ..PostParams::default()
    }
}

fn ours() -> PatchParams {
    PatchParams::apply(mark::CONTROLLER).force()
}

/// Seconds since a time that another clock wrote; never negative.
#[must_use]
pub fn age(of: Timestamp, now: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(now.duration_since(of)).unwrap_or_default()
}
