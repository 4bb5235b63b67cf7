//! What a fleet of nodes with records in a word each says of the whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use eniway_api::{
    Ec2State, Ec2Status, IntOrString, NodeEni, NodeEniAttachment, NodeEniAttachmentSpec,
    NodeEniAttachmentStatus, NodeEniRef, SubnetPolicy, UpdatePolicy, VpcId,
    conditions::reason::{MASS_RELEASE_HELD, UPDATE_HELD},
};
use eniway_ec2::{Snapshot, Subnet};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt as _;

use super::{Fleet, Others, crowd, slip};
use crate::desired::{Node, Provider};

/// A NodeENI that selects nodes labelled `in` and names these subnets.
fn node_eni(subnets: &[&str], policy: SubnetPolicy) -> NodeEni {
    let mut node_eni = NodeEni::default();
    node_eni.metadata.uid = Some("uid".to_owned());
    node_eni.metadata.name = Some("wish".to_owned());
    let spec = &mut node_eni.spec;
    spec.node_selector = BTreeMap::from([("in".to_owned(), "yes".to_owned())]);
    spec.subnet_ids = subnets.iter().map(|&id| id.into()).collect();
    spec.subnet_policy = Some(policy);
    node_eni
}

/// A node for each word: `+` it is selected, `-` it is not, `!` its instance was replaced; then its
/// records, as subnet and state: `a` attached in subnet-a, `a?` only written, `a*` being deleted,
/// `a~` about to be.
fn fleet(node_eni: &NodeEni, words: &str, at_hand: &str) -> Fleet {
    let (mut nodes, mut records) = (BTreeMap::new(), BTreeMap::new());
    let mut going: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (number, word) in words.split(' ').enumerate() {
        let name = format!("node{number}");
        let (label, rest) = word.split_at(1);
        let instance = if label == "!" { "i-new" } else { "i-old" };
        let labels = (label != "-").then(|| ("in".to_owned(), "yes".to_owned()));
        let node = Node {
            name: name.clone(),
            labels: labels.into_iter().collect(),
            provider: Provider::Instance(instance.into()),
            ..Node::default()
        };
        nodes.insert(name.clone(), node);
        let letters = rest.char_indices().filter(|(_, c)| c.is_alphabetic());
        for (at, letter) in letters {
            let state = rest[at + 1..].chars().next();
            let record = record(&name, letter, state);
            if state == Some('~') {
                going
                    .entry(name.clone())
                    .or_default()
                    .insert(record.name_any());
            }
            records.insert(record.name_any(), Arc::new(record));
        }
    }
    let (vpc, snapshot) = (VpcId::from("vpc-1"), snapshot());
    let others = Others {
        node: at_hand,
        records: &records,
        nodes: &nodes,
        going: &going,
        snapshot: &snapshot,
        vpc: &vpc,
    };
    Fleet::of(node_eni, others)
}

fn record(node: &str, letter: char, state: Option<char>) -> NodeEniAttachment {
    let spec = NodeEniAttachmentSpec {
        node_name: node.to_owned(),
        instance_id: "i-old".into(),
        node_eni: NodeEniRef {
            name: "wish".to_owned(),
            uid: "uid".to_owned(),
        },
        subnet_id: format!("subnet-{letter}").as_str().into(),
        position: u32::from(letter) - u32::from('a'),
        ..NodeEniAttachmentSpec::default()
    };
    let ec2 = Ec2Status {
        state: if state == Some('?') {
            Ec2State::Planned
        } else {
            Ec2State::Attached
        },
        ..Ec2Status::default()
    };
    let mut record = NodeEniAttachment {
        spec,
        ..NodeEniAttachment::default()
    };
    record.metadata.name = Some(format!("{node}-{letter}"));
    record.status = Some(NodeEniAttachmentStatus {
        ec2: Some(ec2),
        ..NodeEniAttachmentStatus::default()
    });
    if state == Some('*') {
        record.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    }
    record
}

/// Subnets a and b in one zone, c in another.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::new(Duration::ZERO);
    for (id, zone) in [("subnet-a", "1"), ("subnet-b", "1"), ("subnet-c", "2")] {
        let subnet = Subnet {
            id: id.into(),
            vpc: "vpc-1".into(),
            zone: zone.to_owned(),
            cidrs: Vec::new(),
            free_addresses: 9,
            tags: BTreeMap::new(),
        };
        snapshot.subnets.insert(subnet.id.clone(), subnet);
    }
    snapshot
}

#[track_caller]
fn check(node_eni: &NodeEni, words: &str, nodes: usize, losing: usize, lacking: usize) {
    let expected = Fleet {
        nodes,
        losing,
        lacking,
    };
    assert_eq!(fleet(node_eni, words, "nobody"), expected, "{words}");
}

#[test]
fn nodes_without_the_label_lose_and_nodes_without_an_interface_lack() {
    let all = node_eni(&["subnet-a", "subnet-b"], SubnetPolicy::All);
    check(&all, "+ab +ab", 2, 0, 0);
    check(&all, "+ab -ab -ab*", 3, 2, 0);
    check(&all, "+ab +a*b +a?b +a~b", 4, 0, 3);
}

#[test]
fn a_node_that_lacks_its_interface_does_not_wait_for_itself() {
    let all = node_eni(&["subnet-a"], SubnetPolicy::All);
    assert_eq!(fleet(&all, "+a? +a", "node1").lacking, 1);
    assert_eq!(fleet(&all, "+a? +a", "node0").lacking, 0);
}

#[test]
fn an_instance_that_was_replaced_and_a_node_without_records_do_not_count() {
    let all = node_eni(&["subnet-a"], SubnetPolicy::All);
    check(&all, "+a !a + -", 1, 0, 0);
}

#[test]
fn a_subnet_that_leaves_the_list_is_a_loss_and_another_in_its_place_is_none() {
    let shorter = node_eni(&["subnet-a"], SubnetPolicy::All);
    check(&shorter, "+ab +ab", 2, 2, 0);
    let replaced = node_eni(&["subnet-a", "subnet-c"], SubnetPolicy::All);
    check(&replaced, "+ab +ab", 2, 0, 0);
    let unknown = node_eni(&["subnet-a", "subnet-z"], SubnetPolicy::All);
    check(&unknown, "+ab +ac", 2, 0, 0);
    let zones = node_eni(&["subnet-b"], SubnetPolicy::MatchZone);
    check(&zones, "+a +a*b +c", 3, 1, 0);
}

#[test]
fn more_than_a_fifth_waits_for_a_word_and_a_few_do_not() {
    let mut wish = node_eni(&["subnet-a"], SubnetPolicy::All);
    let of = |losing, nodes| Fleet {
        nodes,
        losing,
        lacking: 0,
    };
    let held = |wish: &NodeEni, fleet| slip(wish, fleet).map(|(reason, _)| reason);
    assert_eq!(held(&wish, of(3, 3)), None);
    assert_eq!(held(&wish, of(4, 20)), None);
    assert_eq!(held(&wish, of(4, 19)), Some(MASS_RELEASE_HELD));
    let (_, message) = slip(&wish, of(40, 100)).unwrap();
    assert!(message.starts_with("40 of 100 nodes"), "{message}");
    let command = "kubectl annotate --overwrite neni wish eniway.io/confirm-release=40";
    assert!(message.ends_with(command), "{message}");
    let annotation = ("eniway.io/confirm-release".to_owned(), "40".to_owned());
    wish.metadata.annotations = Some(BTreeMap::from([annotation]));
    assert_eq!(held(&wish, of(40, 100)), None);
    assert_eq!(held(&wish, of(41, 100)), Some(MASS_RELEASE_HELD));
}

#[test]
fn as_many_nodes_are_without_as_the_policy_allows() {
    let mut wish = node_eni(&["subnet-a"], SubnetPolicy::All);
    let mut most = |policy: Option<IntOrString>, nodes| {
        wish.spec.update_policy = policy.map(|max| UpdatePolicy {
            max_unavailable: Some(max),
        });
        let of = |lacking| Fleet {
            nodes,
            losing: 0,
            lacking,
        };
        let held = |lacking| crowd(&wish, of(lacking)).map(|(reason, _)| reason);
        (0..)
            .find(|lacking| held(*lacking) == Some(UPDATE_HELD))
            .unwrap()
    };
    assert_eq!(most(None, 1), 1);
    assert_eq!(most(None, 10), 1);
    assert_eq!(most(None, 11), 2);
    assert_eq!(most(Some(IntOrString::Int(3)), 100), 3);
    assert_eq!(most(Some(IntOrString::String("50%".to_owned())), 9), 5);
}
