//! Events: what people should know of a NodeENI's interface.

use std::sync::{Mutex, PoisonError};

use eniway_api::{NodeEni, NodeEniAttachment};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource as _,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use super::ApiServer;

/// Events that are remembered, so that one that is repeated is told as a series. kube's recorder would keep each for
/// six minutes: 2.5 KB, and a fleet that is attached makes one for each interface.
const REMEMBERED: u32 = 256;

/// The recorder of events, made anew when it remembers enough.
pub(super) struct Events {
    client: Client,
    reporter: Reporter,
    /// With the number of events that it was given.
    recorder: Mutex<(Recorder, u32)>,
}

impl Events {
    pub(super) fn new(client: Client, reporter: Reporter) -> Self {
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self {
            client,
            reporter,
            recorder: Mutex::new((recorder, 0)),
        }
    }

    fn recorder(&self) -> Recorder {
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, told) = &mut *recorder;
        if *told == REMEMBERED {
            *now = Recorder::new(self.client.clone(), self.reporter.clone());
            *told = 0;
        }
        *told += 1;
        now.clone()
    }
}

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
        if let Err(error) = self.events.recorder().publish(&event, &reference).await {
            tracing::debug!(%error, reason = notice.reason, "Event was lost");
        }
    }
}
