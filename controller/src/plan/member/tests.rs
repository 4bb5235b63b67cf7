use std::time::Duration;

use eniway_api::{NodeEniAttachmentSpec, NodeStatus, PoolPlace, mark};

use super::marks;
use crate::{
    memory::{Creation, Memory},
    plan::tests::{Stage, cluster},
};

/// A record that holds `eni-1`: marked as its own, attached to `i-1`; EC2 was asked a moment ago.
fn stage() -> Stage {
    let mut stage = Stage::attached(NodeEniAttachmentSpec {
        pool: Some(PoolPlace {
            name: "web".to_owned(),
            eni_id: "eni-1".into(),
            address: None,
        }),
        ..NodeEniAttachmentSpec::default()
    });
    stage.memory = Memory {
        asked: Some(stage.begun + Duration::from_secs(3000)),
        creation: Creation::Untried,
        ..Memory::default()
    };
    stage
}

/// Its instance does not have it.
fn idle() -> Stage {
    let mut stage = stage();
    stage.eni().attachment = None;
    stage
}

#[track_caller]
fn check(stage: Stage, change: impl FnOnce(&mut Stage), expected: &str) {
    let mut stage = stage;
    change(&mut stage);
    assert_eq!(stage.does(), expected);
}

fn unmark(stage: &mut Stage) {
    let marks = marks(&stage.record, &cluster());
    stage.eni().tags.retain(|key, _| !marks.contains_key(key));
}

fn take_marks_of(stage: &mut Stage, record: &str) {
    let tag = (mark::TAG_ATTACHMENT.to_owned(), record.to_owned());
    stage.eni().tags.extend([tag]);
}

fn forget(stage: &mut Stage) {
    stage.memory.asked = None;
}

fn release(stage: &mut Stage) {
    stage.delete();
    stage.record.status.get_or_insert_default().node = Some(NodeStatus {
        released: true,
        ..NodeStatus::default()
    });
}

const MARKS: &str = "eniway.io/attachment, eniway.io/cluster, eniway.io/cluster-uid, \
                     eniway.io/nodeeni-uid, eniway.io/role, node.k8s.amazonaws.com/no_manage";

#[test]
fn a_member_is_looked_at_marked_looked_at_again_and_attached() {
    let look = "look at eni-1";
    let fresh = |stage: &mut Stage| {
        unmark(stage);
        forget(stage);
    };
    check(idle(), fresh, look);
    check(idle(), unmark, &format!("set the tags {MARKS} of eni-1"));
    let marked = |stage: &mut Stage| {
        stage.memory.doubted = Some(stage.begun + Duration::from_secs(3001));
    };
    check(idle(), marked, look);
    check(idle(), |_| (), "attach eni-1 to i-1 at 1");
    check(stage(), |_| (), "");
    check(stage(), forget, "");
}

#[test]
fn a_member_is_detached_and_then_loses_its_marks_and_then_its_record() {
    check(stage(), release, "detach eni-1");
    let marks = MARKS.replace(", node.k8s.amazonaws.com/no_manage", "");
    check(idle(), release, &format!("take the tags {marks} off eni-1"));
    let given_back = |stage: &mut Stage| {
        release(stage);
        unmark(stage);
    };
    check(idle(), given_back, "let the record one go");
}

#[test]
fn what_eniway_made_for_the_pool_stays_marked_as_the_clusters() {
    let made = |stage: &mut Stage| {
        release(stage);
        let tag = (mark::TAG_POOL.to_owned(), "web".to_owned());
        stage.eni().tags.extend([tag]);
    };
    let holder = "eniway.io/attachment, eniway.io/nodeeni-uid";
    check(idle(), made, &format!("take the tags {holder} off eni-1"));
}

#[test]
fn a_member_that_another_has_is_left_to_it() {
    let lost = |stage: &mut Stage| {
        release(stage);
        take_marks_of(stage, "uid-2");
    };
    check(idle(), lost, "let the record one go");
    check(stage(), lost, "let the record one go");
    let elsewhere = |stage: &mut Stage| {
        lost(stage);
        stage.eni().attachment.as_mut().unwrap().instance = "i-2".into();
    };
    check(stage(), elsewhere, "let the record one go");
}

#[test]
fn what_ec2_may_not_show_yet_is_waited_for() {
    let unsure = |stage: &mut Stage| {
        release(stage);
        unmark(stage);
        forget(stage);
    };
    check(idle(), unsure, "look at eni-1");
    let just_attached = |stage: &mut Stage| {
        release(stage);
        unmark(stage);
        stage.memory.attaching = Some(stage.begun + Duration::from_secs(3590));
    };
    check(idle(), just_attached, "");
    let just_marked = |stage: &mut Stage| {
        release(stage);
        unmark(stage);
        stage.memory.marking = Some(stage.begun + Duration::from_secs(3590));
    };
    check(idle(), just_marked, "");
    let attached_then = |stage: &mut Stage| {
        release(stage);
        unmark(stage);
        stage.memory.attaching = Some(stage.begun + Duration::from_secs(2990));
    };
    // The look is older than the moment at which EC2 must show it.
    check(idle(), attached_then, "look at eni-1");
}

#[test]
fn a_member_that_ec2_has_no_more_lets_its_record_go() {
    let gone = |stage: &mut Stage| {
        stage.eni = None;
        stage.gone = true;
    };
    check(stage(), gone, "");
    let leaves = |stage: &mut Stage| {
        gone(stage);
        stage.delete();
    };
    check(stage(), leaves, "let the record one go");
    check(stage(), |stage| stage.eni = None, "look at eni-1");
}
