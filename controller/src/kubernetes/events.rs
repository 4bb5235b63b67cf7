//! Events: what people should know of a NodeENI's interface.

use eniway_api::{NodeEni, NodeEniAttachment};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource as _,
    runtime::events::{Event, EventType},
};

use super::ApiServer;

/// Something for people to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub node_eni: eniway_api::NodeEniRef,
    /// The record that it is about, if it is one.
    pub record: Option<String>,
    pub warning: bool,
    /// J's words, where J has one.
    pub reason: &'static str,
    pub action: &'static str,
    pub note: String,
}

impl ApiServer {
    /// Tells people what happened to a NodeENI's interface. Events are best effort.
    pub(super) async fn publish(&self, notice: &Notice) {
        let reference = ObjectReference {
            api_version: Some(NodeEni::api_version(&()).into_owned()),
            kind: Some(NodeEni::kind(&()).into_owned()),
            name: Some(notice.node_eni.name.clone()),
            uid: Some(notice.node_eni.uid.clone()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if notice.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: notice.reason.to_owned(),
            note: Some(notice.note.chars().take(1000).collect()),
            action: notice.action.to_owned(),
            secondary: notice.record.as_ref().map(|name| ObjectReference {
                api_version: Some(NodeEniAttachment::api_version(&()).into_owned()),
                kind: Some(NodeEniAttachment::kind(&()).into_owned()),
                name: Some(name.clone()),
                ..ObjectReference::default()
            }),
        };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::debug!(%error, reason = notice.reason, "Event was lost");
        }
    }
}
