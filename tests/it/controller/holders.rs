//! What a pod uses is not taken from it, and a user reads which pod it is.

use std::time::Duration;

use eniway_api::mark;
use serde_json::json;

use super::{SUBNET_B, process::patient, rig::Rig, spec};

#[test]
fn an_interface_waits_for_the_pod_that_uses_it_and_says_which() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.agent_lives("node1").await;
        rig.wish("used", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let mac = rig.ours()[0].mac.clone();
        rig.pod(
            "ended",
            "node1",
            &json!([{"name": "net", "mac": mac}]),
            "Succeeded",
        )
        .await;
        rig.pod(
            "router",
            "node1",
            &json!([{"name": "net", "mac": mac}]),
            "Running",
        )
        .await;
        rig.unwish("used").await;
        // The agent has nothing more to do with it.
        rig.agent_releases().await;
        rig.until("it names the pod", |state| {
            let record = state.records.values().next().unwrap();
            let ready = &record.status.as_ref().unwrap().conditions[0];
            ready.reason == "InUse" && ready.message.contains("pod apps/router uses")
        })
        .await;
        assert_eq!(rig.calls("DetachNetworkInterface"), 0);
        rig.annotate_records(mark::ANNOTATION_FORCE_RELEASE).await;
        rig.until("a person may take it all the same", |state| {
            state.records.is_empty()
        })
        .await;
        assert!(rig.ours().is_empty());
        controller.stop().await;
    });
}

#[test]
fn an_agent_that_lives_and_never_releases_is_waited_for_until_the_deadline() {
    Rig::new(1).run(async |rig| {
        let mut config = patient();
        config.timing.release = Duration::from_secs(8);
        let controller = rig.controller_at(config);
        rig.agent_lives("node1").await;
        rig.wish("stuck", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        rig.agents_say("Failed").await;
        rig.unwish("stuck").await;
        rig.until("it waits for the agent", |state| {
            let record = state.records.values().next().unwrap();
            record.status.as_ref().unwrap().conditions[0].reason == "Releasing"
        })
        .await;
        assert_eq!(rig.calls("DetachNetworkInterface"), 0);
        rig.until("it goes all the same", |state| state.records.is_empty())
            .await;
        rig.until_event("ENIDetachedUnreleased").await;
        assert!(rig.ours().is_empty());
        controller.stop().await;
    });
}

#[test]
fn an_interface_goes_once_its_pod_is_gone() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.agent_lives("node1").await;
        rig.wish("used", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let address = rig.ours()[0].addresses[0];
        // As ipvlan does: a device of the pod's own, with the interface's address.
        rig.pod(
            "child",
            "node1",
            &json!([{"name": "net", "ips": [address]}]),
            "Running",
        )
        .await;
        rig.unwish("used").await;
        rig.agent_releases().await;
        rig.until("it waits", |state| {
            let record = state.records.values().next().unwrap();
            record.status.as_ref().unwrap().conditions[0].reason == "InUse"
        })
        .await;
        rig.end_pod("child").await;
        rig.until("nothing is left", |state| state.records.is_empty())
            .await;
        controller.stop().await;
    });
}
