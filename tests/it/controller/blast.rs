//! One change does not take everything away at once. Needs root.

use std::time::Duration;

use ec2_sim::{AttachmentState, Interface, Settings};
use eniway_api::mark;
use serde_json::json;

use super::{SUBNET_A, SUBNET_B, SUBNET_SMALL, rig::Rig, spec};

const NODES: usize = 5;

fn in_every_zone(subnets: &[&str]) -> serde_json::Value {
    let mut wish = spec(subnets);
    wish["subnetPolicy"] = json!("MatchZone");
    wish
}

#[test]
fn a_selector_that_drops_every_node_waits_for_a_word() {
    Rig::new(NODES).run(async |rig| {
        let controller = rig.controller();
        let mut wish = in_every_zone(&[SUBNET_A, SUBNET_B]);
        rig.wish("fleet", &wish).await;
        rig.until("all are attached", |state| state.attached() == NODES)
            .await;
        wish["nodeSelector"] = json!({"ng": "mulit-eni"});
        rig.wish("fleet", &wish).await;
        rig.until("it is held", |state| {
            state.reason("fleet") == "MassReleaseHeld"
        })
        .await;
        rig.until_event("MassReleaseHeld").await;
        let state = rig.state().await;
        assert_eq!(state.attached(), NODES);
        let going = |r: &eniway_api::NodeEniAttachment| r.metadata.deletion_timestamp.is_some();
        assert!(!state.records.values().any(going), "one was released");
        assert_eq!(state.status("fleet").nodes, 0);

        rig.annotate("fleet", mark::ANNOTATION_CONFIRM_RELEASE, "5")
            .await;
        rig.until("all are released", |state| state.records.is_empty())
            .await;
        assert!(rig.ours().is_empty());
        controller.stop().await;
    });
}

#[test]
fn where_there_is_no_room_for_both_one_node_at_a_time_is_without() {
    let settings = Settings {
        attach_ms: Duration::from_millis(500),
        ..Settings::default()
    };
    Rig::with(NODES, settings).run(async |rig| {
        let controller = rig.controller();
        // m5.large holds three; one is the primary.
        rig.wish("stays", &in_every_zone(&[SUBNET_A, SUBNET_B]))
            .await;
        rig.wish("moves", &in_every_zone(&[SUBNET_A, SUBNET_B]))
            .await;
        rig.until("both are attached", |state| state.attached() == 2 * NODES)
            .await;
        let mut wish = in_every_zone(&[SUBNET_A, SUBNET_SMALL]);
        wish["updatePolicy"] = json!({"maxUnavailable": 1});
        rig.wish("moves", &wish).await;
        let mut fewest = NODES;
        rig.until_world("the nodes of one zone have moved", |enis| {
            let moves = |eni: &&Interface| eni.tags[mark::peer::TAG_NODE_ENI] == "moves";
            let serves = |eni: &&Interface| {
                let place = eni.attachment.as_ref();
                place.is_some_and(|place| place.state == AttachmentState::Attached)
            };
            let serving = enis.iter().filter(moves).filter(serves);
            fewest = fewest.min(serving.clone().count());
            let moved = serving.filter(|eni| eni.subnet.to_string() == SUBNET_SMALL);
            moved.count() == 3 && enis.len() == 2 * NODES
        })
        .await;
        assert_eq!(fewest, NODES - 1, "so few served at the worst moment");
        controller.stop().await;
    });
}
