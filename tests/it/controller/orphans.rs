//! Interfaces that a removed finalizer, or a lost answer, left behind. Needs root.

use eniway_api::mark;
use jiff::Timestamp;

use super::rig::{Rig, Running};

/// Creates an interface with these tags, as somebody did long ago.
pub(super) fn create(rig: &Running, tags: &[(&str, &str)]) -> String {
    let mut request = ec2_sim::Request::new("CreateNetworkInterface")
        .with("SubnetId", super::SUBNET_B)
        .with("TagSpecification.1.ResourceType", "network-interface");
    for (number, (key, value)) in (1..).zip(tags) {
        request = request
            .with(&format!("TagSpecification.1.Tag.{number}.Key"), key)
            .with(&format!("TagSpecification.1.Tag.{number}.Value"), value);
    }
    let mut world = rig.door.world();
    let created = world.call(&request, Timestamp::now()).unwrap();
    created.first("networkInterfaceId").unwrap().to_owned()
}

#[test]
fn what_no_record_owns_is_deleted_and_nothing_of_others() {
    Rig::new(1).run(async |rig| {
        let cluster = rig.cluster_uid().await;
        let young = Timestamp::now().to_string();
        let tags = |cluster, role, created| {
            [
                (mark::TAG_CLUSTER_UID, cluster),
                (mark::TAG_ROLE, role),
                (mark::TAG_ATTACHMENT, "a-record-of-old"),
                (mark::TAG_CREATED_AT, created),
            ]
        };
        const OLD: &str = "2026-01-01T00:00:00Z";
        let orphan = create(rig, &tags(&cluster, "attachment", OLD));
        let kept = [
            create(rig, &tags("another-cluster", "attachment", OLD)),
            create(rig, &tags(&cluster, "retained", OLD)),
            create(rig, &tags(&cluster, "attachment", &young)),
            create(rig, &[]),
        ];
        let there = |id: &str| {
            let world = rig.door.world();
            world.interfaces().any(|eni| eni.id.as_str() == id)
        };
        let controller = rig.controller();
        rig.until("the orphan is gone", |_| !there(&orphan)).await;
        let reads = rig.calls("DescribeNetworkInterfaces");
        rig.until("EC2 was read three times more", |_| {
            rig.calls("DescribeNetworkInterfaces") >= reads + 3
        })
        .await;
        for id in &kept {
            assert!(there(id), "{id} is not ours to delete");
        }
        assert_eq!(rig.calls("DeleteNetworkInterface"), 1);
        controller.stop().await;
    });
}
