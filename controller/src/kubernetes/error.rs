//! What goes wrong on the way to the API server.

use std::time::Duration;

/// What went wrong on the way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("connect to the API server")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the API server did not answer within {0:?}")]
    Silent(Duration),
    #[error("read the UID of namespace kube-system")]
    ClusterUid(#[source] kube::Error),
    #[error("namespace kube-system has no UID")]
    NoClusterUid,
    #[error("list the pods of node {node}")]
    ListPods { node: String, source: kube::Error },
    #[error("list the records")]
    ListRecords(#[source] kube::Error),
    #[error("write the record {name}")]
    WriteRecord { name: String, source: kube::Error },
    #[error("change the record {name}")]
    ChangeRecord { name: String, source: kube::Error },
    #[error("delete the record {name}")]
    DeleteRecord { name: String, source: kube::Error },
    #[error("write the status of the record {name}")]
    Report { name: String, source: kube::Error },
    #[error("remove the finalizer of the record {name}")]
    DropFinalizer { name: String, source: kube::Error },
    #[error("change the finalizer of NodeENI {name}")]
    NodeEniFinalizer { name: String, source: kube::Error },
    #[error("write the status of NodeENI {name}")]
    NodeEniStatus { name: String, source: kube::Error },
    #[error("set the labels of node {name}")]
    LabelNode { name: String, source: kube::Error },
    #[error("write interfaces on node {name}")]
    AnnotateNode { name: String, source: kube::Error },
    #[error("put a taint on node {name}")]
    Taint { name: String, source: kube::Error },
    #[error("take a taint off node {name}")]
    Untaint { name: String, source: kube::Error },
    #[error("change the finalizer of ENIPool {name}")]
    PoolFinalizer { name: String, source: kube::Error },
    #[error("write the status of ENIPool {name}")]
    PoolStatus { name: String, source: kube::Error },
    #[error("read the lease {name}")]
    ReadLease { name: String, source: kube::Error },
    #[error("write the lease {name}")]
    WriteLease { name: String, source: kube::Error },
    #[error("apply the definition {name}")]
    ApplyCrd { name: String, source: kube::Error },
    #[error("wait until the definition {name} is served")]
    EstablishCrd {
        name: String,
        source: kube::runtime::wait::Error,
    },
    #[error("list NodeENIAttachments: are the definitions applied? `eniway-controller crds apply`")]
    Schema(#[source] kube::Error),
    #[error("the definition {name} is another release's: run `eniway-controller crds apply`")]
    SchemaDiffers { name: String },
}

impl Error {
    /// Whether the object was changed or is gone meanwhile: look again and decide again.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        match self {
            Self::WriteRecord { source, .. }
            | Self::ChangeRecord { source, .. }
            | Self::DeleteRecord { source, .. }
            | Self::Report { source, .. }
            | Self::DropFinalizer { source, .. }
            | Self::NodeEniFinalizer { source, .. }
            | Self::NodeEniStatus { source, .. }
            | Self::LabelNode { source, .. }
            | Self::AnnotateNode { source, .. }
            | Self::Taint { source, .. }
            | Self::Untaint { source, .. }
            | Self::PoolFinalizer { source, .. }
            | Self::PoolStatus { source, .. }
            | Self::WriteLease { source, .. } => matches!(code(source), 404 | 409 | 422),
            _ => false,
        }
    }

    /// Whether the API server said no, so that nothing was written. Another failure may be an answer that was lost.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::WriteRecord { source, .. } => matches!(code(source), 400..=499),
            _ => false,
        }
    }

    /// Whether we may not write the node.
    #[must_use]
    pub fn denies_nodes(&self) -> bool {
        match self {
            Self::LabelNode { source, .. }
            | Self::AnnotateNode { source, .. }
            | Self::Taint { source, .. }
            | Self::Untaint { source, .. } => code(source) == 403,
            _ => false,
        }
    }
}

fn code(source: &kube::Error) -> u16 {
    match source {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}
