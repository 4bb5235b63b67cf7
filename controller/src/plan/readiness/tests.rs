//! What a node says, told in words.

use std::sync::Arc;

use eniway_api::{
    Ec2State, Ec2Status, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec,
    NodeEniAttachmentStatus, NodeEniRef, NodePhase, NodeStatus, SubnetPolicy,
    conditions::reason::{
        INSTANCE_PENDING, NO_SUBNET_IN_ZONE, SUBNET_IN_OTHER_ZONE, SUBNET_NOT_FOUND, UPDATE_HELD,
    },
    mark,
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::announce;
use crate::desired::{Declared, Desired, Node, Problem, Provider, Taint, Wish};

/// A letter for the NodeENI and a digit for the subnet: `a1`.
fn spec(word: &str) -> NodeEniAttachmentSpec {
    let (node_eni, subnet) = (&word[..1], &word[1..2]);
    NodeEniAttachmentSpec {
        instance_id: "i-1".into(),
        node_eni: NodeEniRef {
            name: node_eni.to_owned(),
            uid: node_eni.to_owned(),
        },
        subnet_id: subnet.into(),
        position: subnet.parse().unwrap(),
        ..NodeEniAttachmentSpec::default()
    }
}

/// `a1+` is ready, `a1-` attached and no more, `a1*` ready and being deleted, `a1!` of another instance.
fn record(word: &str) -> Arc<NodeEniAttachment> {
    let mut record = NodeEniAttachment::new(&word[..2], spec(word));
    let node = NodeStatus {
        phase: NodePhase::Ready,
        ..NodeStatus::default()
    };
    let ec2 = Ec2Status {
        state: Ec2State::Attached,
        ..Ec2Status::default()
    };
    record.status = Some(NodeEniAttachmentStatus {
        ec2: Some(ec2),
        node: (!word.ends_with('-')).then_some(node),
        ..NodeEniAttachmentStatus::default()
    });
    if word.ends_with('*') {
        record.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    }
    if word.ends_with('!') {
        record.spec.instance_id = "i-0".into();
    }
    Arc::new(record)
}

/// Its labels, and `!` for the start-up taint, `?` for the cloud's.
fn node(words: &str) -> Node {
    let taint = |(index, word)| {
        let key = match word {
            "!" => mark::TAINT_NOT_READY,
            "?" => "node.cloudprovider.kubernetes.io/uninitialized",
            _ => return None,
        };
        let (key, effect) = (key.to_owned(), "NoSchedule".to_owned());
        Some(Taint { index, key, effect })
    };
    let labels = words.split_whitespace().filter(|word| !"!?".contains(word));
    Node {
        name: "n".to_owned(),
        provider: Provider::Instance("i-1".into()),
        labels: labels
            .map(|name| (mark::ready_label(name), "true".to_owned()))
            .collect(),
        taints: words
            .split_whitespace()
            .enumerate()
            .filter_map(taint)
            .collect(),
        ..Node::default()
    }
}

/// NodeENIs a and b want every subnet, m one of its zone; u cannot be read.
fn declared(names: &str) -> Vec<Declared> {
    let readable = |name: &str| {
        let mut node_eni = NodeEni::default();
        node_eni.metadata.uid = Some(name.to_owned());
        node_eni.metadata.name = Some(name.to_owned());
        node_eni.spec.subnet_policy = (name == "m").then_some(SubnetPolicy::MatchZone);
        Declared::Readable(Arc::new(node_eni))
    };
    let one = |name| match name {
        "u" => Declared::Unreadable {
            name: "u".to_owned(),
            uid: "u".to_owned(),
            why: String::new(),
        },
        name => readable(name),
    };
    names.split_whitespace().map(one).collect()
}

/// What the node says when these NodeENIs select it, with these wishes, records and problems.
fn check(
    (words, matching): (&str, &str),
    (wishes, records): (&str, &str),
    problems: &[(&str, &'static str)],
    expected: &[&str],
) {
    let wish = |word: &str| Wish {
        record: word.to_owned(),
        spec: spec(word),
    };
    let problem = |(node_eni, reason): &(&str, &'static str)| Problem {
        node_eni: (*node_eni).to_owned(),
        reason,
        message: String::new(),
    };
    let desired = Desired {
        wishes: wishes.split_whitespace().map(wish).collect(),
        matching: matching.split_whitespace().map(str::to_owned).collect(),
        problems: problems.iter().map(problem).collect(),
        ..Desired::default()
    };
    let records: Vec<_> = records.split_whitespace().map(record).collect();
    let declared = declared(if matching.contains('u') {
        "a b m u"
    } else {
        "a b m"
    });
    let actions = announce(&node(words), &declared, &records, &desired);
    let said: Vec<_> = actions.iter().map(ToString::to_string).collect();
    assert_eq!(said, expected, "{words:?} {matching:?} {wishes:?}");
}

const UNTAINT: &str = "take the taint eniway.io/not-ready off node n";

#[test]
fn the_label_comes_first_and_then_the_taint_goes() {
    check(
        ("!", "a"),
        ("a1", "a1+"),
        &[],
        &["label node n: +ready.eniway.io/a"],
    );
    check(("! a", "a"), ("a1", "a1+"), &[], &[UNTAINT]);
    check(("a", "a"), ("a1", "a1+"), &[], &[]);
}

#[test]
fn every_interface_of_every_node_eni_is_waited_for() {
    check(("!", "a"), ("a1 a2", "a1+"), &[], &[]);
    check(("!", "a"), ("a1 a2", "a1+ a2-"), &[], &[]);
    check(("!", "a"), ("a1", "a1*"), &[], &[]);
    check(("!", "a"), ("a1", "a1!"), &[], &[]);
    let partly = "label node n: +ready.eniway.io/a";
    check(("!", "a b"), ("a1 b1", "a1+ b1-"), &[], &[partly]);
    check(("! a", "a b"), ("a1 b1", "a1+ b1-"), &[], &[]);
    check(("! a b", "a b"), ("a1 b1", "a1+ b1+"), &[], &[UNTAINT]);
}

#[test]
fn where_nothing_will_come_nothing_is_waited_for() {
    check(("!", ""), ("", ""), &[], &[UNTAINT]);
    check(
        ("!", "m"),
        ("", ""),
        &[("m", NO_SUBNET_IN_ZONE)],
        &[UNTAINT],
    );
    check(
        ("! a", "a"),
        ("a1", "a1+"),
        &[("a", SUBNET_IN_OTHER_ZONE)],
        &[UNTAINT],
    );
    // Its cloud has not set its labels yet: who knows what selects it then.
    check(("? !", ""), ("", ""), &[], &[]);
}

#[test]
fn what_is_not_known_is_waited_for() {
    check(("!", "a"), ("", ""), &[("a", INSTANCE_PENDING)], &[]);
    check(("!", "u"), ("", ""), &[], &[]);
    // The instance ends: no wish, and no reason why.
    check(("!", "a"), ("", ""), &[], &[]);
}

#[test]
fn a_label_goes_when_it_is_not_true_any_more() {
    let gone = "label node n: -ready.eniway.io/a";
    check(("a", "a"), ("a1", "a1-"), &[], &[gone]);
    check(("a", ""), ("", "a1+"), &[], &[gone]);
    check(("a", "a"), ("", "a1-"), &[("a", SUBNET_NOT_FOUND)], &[gone]);
    check(
        ("x", ""),
        ("", ""),
        &[],
        &["label node n: -ready.eniway.io/x"],
    );
}

#[test]
fn a_label_stays_while_its_interface_works() {
    // A name that is not found is no reason to take anything away.
    check(("a", "a"), ("", "a1+"), &[("a", SUBNET_NOT_FOUND)], &[]);
    check(("u", "u"), ("", ""), &[], &[]);
    // The new subnet's interface is not ready yet, the old one's is.
    check(("m", "m"), ("m2", "m1+ m2-"), &[("m", UPDATE_HELD)], &[]);
    check(
        ("a", "a"),
        ("a1 a2", "a1+ a2-"),
        &[],
        &["label node n: -ready.eniway.io/a"],
    );
}

#[test]
fn labels_of_long_names_fit_and_differ() {
    let long = |last: char| format!("{}{last}", "long.".repeat(20));
    let (one, other) = (mark::ready_label(&long('1')), mark::ready_label(&long('2')));
    assert_ne!(one, other);
    assert_eq!(one.len(), "ready.eniway.io/".len() + 63);
    assert_eq!(mark::ready_label("short"), "ready.eniway.io/short");
}
