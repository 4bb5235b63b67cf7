use std::{collections::BTreeMap, sync::Arc};

use eniway_api::{
    Ec2State, Ec2Status, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec, NodePhase, NodeStatus,
    conditions::{MAX_PODS, READY, reason},
};
use jiff::Timestamp;

use super::{NodeTally, Situation, node_eni};
use crate::desired::MaxPods;

/// A record on a node: `+` ready, `-` attached, `.` planned.
fn record(node: &str, number: usize, state: char) -> Arc<NodeEniAttachment> {
    let spec = NodeEniAttachmentSpec {
        node_name: node.to_owned(),
        ..NodeEniAttachmentSpec::default()
    };
    let mut record = NodeEniAttachment::new(&format!("{node}-{number}"), spec);
    let status = record.status.get_or_insert_default();
    let state = match state {
        '.' => Ec2State::Planned,
        '-' => Ec2State::Attached,
        _ => {
            status.node = Some(NodeStatus {
                phase: NodePhase::Ready,
                ..NodeStatus::default()
            });
            Ec2State::Attached
        }
    };
    status.ec2 = Some(Ec2Status {
        state,
        ..Ec2Status::default()
    });
    Arc::new(record)
}

/// `a1:+ b0:+`: node a asks for one interface and has a ready one; b asks for none.
#[track_caller]
fn check(nodes: &str, expected: (&str, &str)) {
    let mut tallies = BTreeMap::new();
    let mut records = Vec::new();
    for word in nodes.split_whitespace() {
        let (node, states) = word.split_once(':').unwrap();
        let (name, desired) = node.split_at(1);
        let tally = NodeTally {
            selected: true,
            desired: desired.parse().unwrap(),
            ..NodeTally::default()
        };
        tallies.insert(name.to_owned(), tally);
        records.extend(
            states
                .chars()
                .enumerate()
                .map(|(at, state)| record(name, at, state)),
        );
    }
    let status = node_eni(Situation {
        node_eni: &NodeEni::default(),
        nodes: &tallies,
        records: &records,
        other_controller: false,
        foreign: &[],
        now: Timestamp::UNIX_EPOCH,
    });
    let ready = status
        .conditions
        .iter()
        .find(|one| one.type_ == READY)
        .unwrap();
    assert_eq!((ready.reason.as_str(), ready.message.as_str()), expected);
}

#[test]
fn an_interface_that_goes_with_its_instance_is_none_of_those_asked_for() {
    let all = "1 of 1 interfaces are attached, 1 are ready";
    check("a1:+", (reason::READY, all));
    check(
        "a1:+ b0:+",
        (reason::READY, &format!("{all}; 1 more is on its way out")),
    );
    check(
        "a1:++",
        (reason::READY, &format!("{all}; 1 more is on its way out")),
    );
}

#[test]
fn what_goes_does_not_stand_in_for_what_is_missing() {
    check(
        "a1: b0:+",
        (
            reason::PROGRESSING,
            "0 of 1 interfaces are attached, 0 are ready; 1 more is on its way out",
        ),
    );
    check(
        "a1:- b1:.",
        (
            reason::PROGRESSING,
            "1 of 2 interfaces are attached, 0 are ready",
        ),
    );
}

#[test]
fn the_first_node_that_allows_too_many_pods_is_named() {
    let hint = |node: &str| MaxPods {
        node: node.to_owned(),
        instance_type: "m5.large".to_owned(),
        taken: 1,
        allowed: 29,
        fits: 20,
    };
    let tally = |name: &str| NodeTally {
        max_pods: Some(hint(name)),
        ..NodeTally::default()
    };
    let nodes = ["a", "b"].map(|name| (name.to_owned(), tally(name)));
    let status = node_eni(Situation {
        node_eni: &NodeEni::default(),
        nodes: &BTreeMap::from(nodes),
        records: &[],
        other_controller: false,
        foreign: &[],
        now: Timestamp::UNIX_EPOCH,
    });
    let told = status.conditions.iter().find(|one| one.type_ == MAX_PODS);
    assert_eq!(
        told.unwrap().message,
        "the kubelet of node a (a m5.large) allows 29 pods, and beside 1 interface of eniway the VPC \
         CNI has addresses for 20: start it with --max-pods=20, as Karpenter does with \
         --reserved-enis=1 (1 more nodes need another number, too)"
    );
}
