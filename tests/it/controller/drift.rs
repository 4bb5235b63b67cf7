//! What somebody changes by hand in EC2, or a user in a wish, converges on the interface that is there.

use std::time::Duration;

use ec2_sim::{AttachmentState, Settings};
use eniway_api::mark;
use serde_json::json;

use super::{SUBNET_B, SUBNET_SMALL, rig::Rig, spec};

#[test]
fn tags_follow_the_wish_and_others_stay() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        wish["tags"] = json!({"team": "packets"});
        rig.wish("tagged", &wish).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let id = rig.ours()[0].id.clone();
        rig.tag(&id, "owner", "them");
        wish["tags"] = json!({"squad": "frames"});
        rig.wish("tagged", &wish).await;
        rig.until_world("EC2 follows", |enis| {
            let tags = &enis[0].tags;
            tags.get("squad").is_some_and(|squad| squad == "frames") && !tags.contains_key("team")
        })
        .await;
        let enis = rig.ours();
        assert_eq!(enis[0].id, id, "it is the same interface");
        assert_eq!(enis[0].tags["owner"], "them");
        rig.until("nothing is left to take off", |state| {
            state
                .records
                .values()
                .all(|r| r.spec.former_tags.is_empty())
        })
        .await;
        rig.tag(&id, "team", "theirs");
        rig.tag(&id, "squad", "changed");
        rig.until_world("the wish holds", |enis| enis[0].tags["squad"] == "frames")
            .await;
        assert_eq!(rig.ours()[0].tags["team"], "theirs", "it is theirs now");
        controller.stop().await;
    });
}

#[test]
fn an_interface_without_our_marks_gets_them_back() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.wish("hidden", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let before = rig.ours()[0].clone();
        rig.untag(&before.id, mark::TAG_CLUSTER_UID);
        rig.untag(&before.id, mark::TAG_ATTACHMENT);
        rig.until_world("its tags are as they were", |enis| {
            enis.iter().any(|eni| eni.tags == before.tags)
        })
        .await;
        assert_eq!(rig.calls("CreateNetworkInterface"), 1);
        assert_eq!(rig.ours()[0].id, before.id);
        rig.unwish("hidden").await;
        rig.until("nothing is left", |state| state.records.is_empty())
            .await;
        assert!(rig.ours().is_empty());
        controller.stop().await;
    });
}

#[test]
fn the_interface_in_another_subnet_is_attached_before_the_old_one_goes() {
    let settings = Settings {
        attach_ms: Duration::from_secs(1),
        ..Settings::default()
    };
    Rig::with(1, settings).run(async |rig| {
        let controller = rig.controller();
        rig.wish("moves", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        rig.wish("moves", &spec(&[SUBNET_SMALL])).await;
        rig.until_world("it has moved", |enis| {
            let serves = |eni: &ec2_sim::Interface| {
                let place = eni.attachment.as_ref();
                place.is_some_and(|place| place.state == AttachmentState::Attached)
            };
            assert!(enis.iter().any(serves), "the node is without an interface");
            enis.len() == 1 && enis[0].subnet.to_string() == SUBNET_SMALL
        })
        .await;
        controller.stop().await;
    });
}

#[test]
fn on_a_full_instance_the_old_interface_goes_first_and_an_event_says_so() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        // m5.large holds three; one is the primary.
        rig.wish("stays", &spec(&[SUBNET_B])).await;
        rig.wish("moves", &spec(&[SUBNET_B])).await;
        rig.until("both are attached", |state| state.attached() == 2)
            .await;
        rig.wish("moves", &spec(&[SUBNET_SMALL])).await;
        rig.until_world("it has moved", |enis| {
            let here = |eni: &&ec2_sim::Interface| eni.subnet.to_string() == SUBNET_SMALL;
            enis.len() == 2 && enis.iter().filter(here).any(|eni| eni.status() == "in-use")
        })
        .await;
        rig.until_event("NoRoomForBoth").await;
        controller.stop().await;
    });
}
