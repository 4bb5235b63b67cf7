use std::collections::BTreeMap;

use eniway_api::{
    Ec2Status, ElasticIpClaim, ElasticIpWish, NodeEniAttachmentSpec, NodeStatus, conditions::reason,
};
use eniway_ec2::{Association, AttachmentState, ElasticIp};

use crate::plan::tests::Stage;

fn elastic_ip(number: &str, eni: Option<&str>) -> ElasticIp {
    ElasticIp {
        id: format!("eipalloc-{number}").into(),
        public_ip: [203, 0, 113, 1].into(),
        is_associated: eni.is_some(),
        eni: eni.map(Into::into),
        tags: BTreeMap::new(),
    }
}

/// An attached interface of a record that asks for these, has chosen one, and bears one.
fn stage(asked: &str, chosen: Option<&str>, borne: Option<&str>) -> Stage {
    let ids = asked.split_whitespace();
    let wish = ElasticIpWish {
        allocation_ids: ids.map(|one| format!("eipalloc-{one}").into()).collect(),
        ..ElasticIpWish::default()
    };
    let mut stage = Stage::attached(NodeEniAttachmentSpec {
        elastic_ip: (!asked.is_empty()).then_some(wish),
        ..NodeEniAttachmentSpec::default()
    });
    stage.record.status.get_or_insert_default().ec2 = Some(Ec2Status {
        eni_id: Some("eni-1".into()),
        elastic_ip: chosen.map(|one| ElasticIpClaim {
            allocation_id: format!("eipalloc-{one}").into(),
            association_id: None,
        }),
        ..Ec2Status::default()
    });
    stage.eni().association = borne.map(|one| Association {
        public_ip: [203, 0, 113, 1].into(),
        allocation: Some(format!("eipalloc-{one}").into()),
        id: Some(format!("eipassoc-{one}").into()),
    });
    let has = |number| (borne == Some(number)).then_some("eni-1");
    let all = ["1", "2"].map(|number| elastic_ip(number, has(number)));
    stage.elastic_ips = Some(all.to_vec());
    stage
}

fn claim(number: &str) -> Option<String> {
    Some(format!("eipalloc-{number}"))
}

#[test]
fn one_is_chosen_then_written_down_then_associated() {
    let mut first = stage("1", None, None);
    first.choices.insert("one".to_owned(), "eipalloc-1".into());
    assert_eq!(first.does(), "");
    assert_eq!(first.says(), (reason::PROGRESSING.to_owned(), claim("1")));
    let second = stage("1", Some("1"), None);
    assert_eq!(second.does(), "associate eipalloc-1 with eni-1");
    let third = stage("1", Some("1"), Some("1"));
    assert_eq!(third.does(), "");
    assert_eq!(third.says().1, claim("1"));
}

#[test]
fn nothing_is_asked_of_ec2_for_who_wants_none_or_is_not_attached() {
    let mut stage = stage("1", None, None);
    stage.elastic_ips = None;
    assert_eq!(stage.does(), "look at Elastic IPs");
    stage.eni().attachment.as_mut().unwrap().state = AttachmentState::Attaching;
    assert_eq!(stage.does(), "look at eni-1");
    let wants_none = Stage {
        elastic_ips: None,
        ..self::stage("", None, None)
    };
    assert_eq!(wants_none.does(), "");
}

#[test]
fn where_none_is_free_it_is_said_and_looked_at_again() {
    let none = stage("1 2", None, None);
    assert_eq!(none.does(), "look at Elastic IPs");
    assert_eq!(none.says(), (reason::NO_FREE_ELASTIC_IP.to_owned(), None));
    let unknown = stage("3", None, None);
    let said = (reason::ELASTIC_IP_NOT_FOUND.to_owned(), None);
    assert_eq!(unknown.says(), said);
}

#[test]
fn one_that_something_else_has_by_now_is_given_up() {
    let mut stage = stage("1 2", Some("1"), None);
    stage.elastic_ips = Some(vec![elastic_ip("1", Some("eni-9"))]);
    assert_eq!(stage.does(), "");
    assert_eq!(stage.says(), (reason::PROGRESSING.to_owned(), None));
}

#[test]
fn a_wish_that_changes_or_goes_takes_ours_off_and_no_other() {
    let off = "take eipalloc-1 off eni-1";
    assert_eq!(stage("2", Some("1"), Some("1")).does(), off);
    assert_eq!(stage("", Some("1"), Some("1")).does(), off);
    assert_eq!(stage("", None, Some("1")).does(), "");
    let foreign = stage("2", None, Some("1"));
    assert_eq!(foreign.does(), "");
    let said = (reason::ELASTIC_IP_FOREIGN.to_owned(), None);
    assert_eq!(foreign.says(), said);
    // What is asked for is there, whoever gave it.
    let given = stage("1", None, Some("1"));
    assert_eq!((given.does(), given.says().1), (String::new(), None));
    assert_ne!(given.says().0, reason::ELASTIC_IP_FOREIGN);
}

#[test]
fn a_release_gives_ours_back_and_leaves_what_is_not() {
    let released = |mut stage: Stage| {
        stage.delete();
        stage.record.status.get_or_insert_default().node = Some(NodeStatus {
            released: true,
            ..NodeStatus::default()
        });
        stage
    };
    let ours = || released(stage("1", Some("1"), Some("1")));
    assert_eq!(ours().does(), "take eipalloc-1 off eni-1; detach eni-1");
    let mut detached = ours();
    detached.eni().attachment = None;
    assert_eq!(detached.does(), "take eipalloc-1 off eni-1");
    detached.eni().association = None;
    assert_eq!(detached.does(), "delete eni-1");
    let foreign = released(stage("2", None, Some("1")));
    assert_eq!(foreign.does(), "detach eni-1");
}
