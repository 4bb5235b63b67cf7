//! Others at work in the same cluster and the same account: nothing of theirs is touched.

use super::{SUBNET_B, process::patient, rig::Rig, spec};

#[test]
fn a_second_controller_waits_for_the_first() {
    Rig::new(1).run(async |rig| {
        let first = rig.elected("first");
        rig.wish("led", &spec(&[SUBNET_B])).await;
        rig.until("the first leads", |state| state.attached() == 1)
            .await;
        let second = rig.elected("second");
        first.stop().await;
        rig.unwish("led").await;
        rig.until("the second goes on", |state| state.records.is_empty())
            .await;
        second.stop().await;
    });
}

#[test]
fn two_controllers_by_mistake_make_one_interface() {
    Rig::new(1).run(async |rig| {
        let (one, other) = (rig.controller(), rig.controller());
        rig.wish("both", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        rig.until_world("there is one", |enis| enis.len() == 1)
            .await;
        rig.unwish("both").await;
        rig.until("nothing is left", |state| state.records.is_empty())
            .await;
        rig.until_world("EC2 has none", <[_]>::is_empty).await;
        one.stop().await;
        other.stop().await;
    });
}

#[test]
fn while_the_peer_is_at_work_nothing_is_changed() {
    Rig::new(1).run(async |rig| {
        rig.peer_renews().await;
        let controller = rig.controller();
        rig.wish("peer", &spec(&[SUBNET_B])).await;
        rig.until("it says so", |state| {
            state.reason("peer") == "OtherControllerActive"
        })
        .await;
        assert_eq!(rig.ours().len(), 0);
        assert!(rig.state().await.records.is_empty());
        controller.stop().await;
    });
}

#[test]
fn a_device_index_taken_by_another_makes_ours_take_the_next() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller_at(patient());
        rig.until_it_has_read_ec2().await;
        // The snapshot shows index 1 as free.
        let theirs = rig.attach_for_another("node1", SUBNET_B, 1);
        rig.wish("next", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let ours = rig.ours();
        assert_eq!(ours.len(), 1);
        assert_eq!(rig.index_of(&ours[0].id), Some(2));
        assert_eq!(rig.index_of(&theirs), Some(1), "theirs stays where it is");
        assert_eq!(rig.calls("CreateNetworkInterface"), 1);
        assert_eq!(rig.calls("AttachNetworkInterface"), 2);
        controller.stop().await;
    });
}
