//! Writes of records.

use std::collections::BTreeSet;

use eniway_api::{Ec2Status, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec, mark};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use kube::{
    Resource as _, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    core::ObjectMeta,
};
use serde_json::json;

use super::{
    ApiServer, Error,
    api_server::{ours, post},
};

impl ApiServer {
    /// Writes a new record. One that exists already is returned as it is, with `false`.
    pub(super) async fn write_record(
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
            Ok(record) => Ok((slim(record), true)),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let record = self.records.get(name).await.map_err(failed)?;
                Ok((slim(record), false))
            }
            Err(source) => Err(failed(source)),
        }
    }

    /// Replaces a record's spec, unless somebody changed the record since it was read.
    pub(super) async fn change_record(
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
            .map(slim)
            .map_err(|source| Error::ChangeRecord { name, source })
    }

    /// Marks this very record for deletion; returned as it is then, unless it is gone at once.
    pub(super) async fn delete_record(
        &self,
        record: &NodeEniAttachment,
    ) -> Result<Option<NodeEniAttachment>, Error> {
        let name = record.name_any();
        let this = DeleteParams {
            preconditions: Some(Preconditions {
                uid: record.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.records.delete(&name, &this).await {
            Ok(answer) => Ok(answer.left().map(slim)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(source) => Err(Error::DeleteRecord { name, source }),
        }
    }

    /// Writes the controller's half of a record's status.
    pub(super) async fn report(
        &self,
        record: &NodeEniAttachment,
        ec2: &Ec2Status,
        ready: &Condition,
    ) -> Result<NodeEniAttachment, Error> {
        let name = record.name_any();
        // With the UID, a record of the same name that was made anew is not touched; with the version,
        // neither is one that a leader before us wrote and that our watch does not show yet: what is
        // ours of an interface's addresses stands nowhere else.
        let (uid, version) = (record.uid(), record.resource_version());
        let body = json!({
            "apiVersion": NodeEniAttachment::api_version(&()),
            "kind": NodeEniAttachment::kind(&()),
            "metadata": {"name": name, "uid": uid, "resourceVersion": version},
            "status": {"ec2": ec2, "conditions": [ready]},
        });
        self.records
            .patch_status(&name, &ours(), &Patch::Apply(&body))
            .await
            .map(slim)
            .map_err(|source| Error::Report { name, source })
    }

    /// The UIDs of all records, as the API server itself has them now.
    pub(super) async fn record_uids(&self) -> Result<BTreeSet<String>, Error> {
        let listed = self.records.list_metadata(&ListParams::default()).await;
        let listed = listed.map_err(Error::ListRecords)?;
        Ok(listed.items.iter().filter_map(ResourceExt::uid).collect())
    }

    /// Lets a record go.
    pub(super) async fn drop_finalizer(&self, record: &NodeEniAttachment) -> Result<(), Error> {
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
}

/// A record as it is kept: a fleet has thousands, and a list that is read from JSON has room for four.
pub(super) fn slim(mut record: NodeEniAttachment) -> NodeEniAttachment {
    let metadata = &mut record.metadata;
    metadata.managed_fields = None;
    if let Some(owners) = &mut metadata.owner_references {
        owners.shrink_to_fit();
    }
    if let Some(finalizers) = &mut metadata.finalizers {
        finalizers.shrink_to_fit();
    }
    record.spec.security_group_ids.shrink_to_fit();
    if let Some(status) = &mut record.status {
        status.conditions.shrink_to_fit();
        if let Some(ec2) = &mut status.ec2 {
            ec2.addresses.shrink_to_fit();
            ec2.subnet_cidrs.shrink_to_fit();
        }
    }
    record
}
