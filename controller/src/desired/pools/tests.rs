use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use eniway_api::{
    EniPool, EniPoolSpec, NodeEni, NodeEniAttachment, PoolRef, TagSelector, mark, node_eni::Tag,
};
use eniway_ec2::{
    Attachment, AttachmentState, Eni, Instance, InstanceState, Snapshot, Subnet, Tags,
};

use super::{Holder, Pools};
use crate::desired::{Declared, Desired, Inputs, Node, Provider, Unwanted, desired};

const US: &str = "us";

/// A pool of interfaces 1 to 9 as a word for each: `2` is free in zone a, `2b` in zone b; then
/// `@3` it is attached to i-3, `#r` it bears the mark of record r, `!` that of another cluster, `=r`
/// record r holds it, `*` a NodeENI made it.
struct World {
    snapshot: Snapshot,
    pools: Pools,
}

fn world(words: &str, state: InstanceState) -> World {
    let now = Instant::now();
    let mut snapshot = Snapshot::new(Duration::ZERO);
    for zone in ["a", "b"] {
        let subnet = Subnet {
            id: format!("subnet-{zone}").as_str().into(),
            vpc: "vpc-1".into(),
            zone: zone.to_owned(),
            cidrs: Vec::new(),
            free_addresses: 9,
            tags: BTreeMap::new(),
        };
        snapshot.subnets.insert(subnet.id.clone(), subnet);
    }
    let mut pools = Pools {
        cluster_uid: US.to_owned(),
        ..Pools::default()
    };
    let mut enis = Vec::new();
    for word in words.split_whitespace() {
        let eni = eni(word);
        if let Some((_, record)) = word.split_once('=') {
            let holder = Holder {
                record: record.to_owned(),
                pool: "p".to_owned(),
                uid: Some(record.to_owned()),
            };
            pools.holders.insert(eni.id.clone(), vec![holder]);
        }
        enis.push(eni);
    }
    snapshot.read_all_enis(enis, now);
    let instance = Instance {
        id: "i-1".into(),
        vpc: Some("vpc-1".into()),
        zone: "a".to_owned(),
        state,
        instance_type: "m5.large".to_owned(),
        interfaces: Vec::new(),
    };
    snapshot.read_all_instances(vec![instance], now);
    let tags = BTreeMap::from([("pool".to_owned(), Tag("p".to_owned()))]);
    let spec = EniPoolSpec {
        selector: Some(TagSelector { tags }),
        ..EniPoolSpec::default()
    };
    let pool = Arc::new(EniPool::new("p", spec));
    pools.declared.insert("p".to_owned(), pool);
    World { snapshot, pools }
}

fn eni(word: &str) -> Eni {
    let number = &word[..1];
    let zone = if word[1..].starts_with('b') { "b" } else { "a" };
    let mut tags = Tags::from_iter([("pool", "p")]);
    let mut tag = |key: &str, value: &str| {
        tags.extend([(key, value)]);
    };
    if let Some((_, record)) = word.split_once('#') {
        tag(mark::TAG_CLUSTER_UID, US);
        tag(mark::TAG_ATTACHMENT, record);
    }
    if word.contains('!') {
        tag(mark::TAG_CLUSTER_UID, "them");
    }
    if word.contains('*') {
        tag(mark::TAG_ROLE, "attachment");
    }
    let attachment = word.split_once('@').map(|(_, instance)| Attachment {
        id: "eni-attach-1".into(),
        instance: format!("i-{}", &instance[..1]).as_str().into(),
        device_index: 1,
        network_card_index: 0,
        state: AttachmentState::Attached,
        delete_on_termination: false,
        ena_queue_count: None,
    });
    Eni {
        id: format!("eni-{number}").as_str().into(),
        subnet: format!("subnet-{zone}").as_str().into(),
        zone: zone.to_owned(),
        mac: "06:00:00:00:00:01".parse().expect("a MAC"),
        attachment,
        groups: Vec::new(),
        source_dest_check: false,
        description: "theirs".to_owned(),
        addresses: vec![format!("10.0.0.{number}/32").parse().expect("an address")],
        prefixes: Vec::new(),
        association: None,
        tags,
    }
}

/// What i-1 should have, with these records of its own.
fn think(world: &World, records: &[Arc<NodeEniAttachment>]) -> Desired {
    let mut node_eni = NodeEni::default();
    node_eni.metadata.name = Some("n".to_owned());
    node_eni.metadata.uid = Some("n".to_owned());
    node_eni.spec.node_selector = BTreeMap::from([("in".to_owned(), "yes".to_owned())]);
    node_eni.spec.pool_ref = Some(PoolRef {
        name: "p".to_owned(),
    });
    desired(Inputs {
        node: Some(&Node {
            name: "node".to_owned(),
            labels: node_eni.spec.node_selector.clone(),
            provider: Provider::Instance("i-1".into()),
            ..Node::default()
        }),
        declared: &[Declared::Readable(Arc::new(node_eni))],
        records,
        snapshot: &world.snapshot,
        vpc: &"vpc-1".into(),
        promised: &BTreeMap::new(),
        adopt: true,
        pools: &world.pools,
    })
}

fn said(desired: &Desired) -> String {
    let chosen = desired
        .wishes
        .iter()
        .filter_map(|one| one.spec.pool.as_ref());
    let chosen = chosen.map(|place| place.eni_id.to_string());
    let problems = desired.problems.iter().map(|one| one.reason.to_owned());
    let releases = desired.releases.iter().map(|one| format!("{:?}", one.why));
    let all: Vec<_> = chosen.chain(problems).chain(releases).collect();
    all.join(" ")
}

#[track_caller]
fn check(words: &str, expected: &str) {
    let desired = think(&world(words, InstanceState::Running), &[]);
    assert_eq!(said(&desired), expected);
}

#[test]
fn the_first_free_member_of_the_zone_is_taken() {
    check("2 1", "eni-1");
    check("1b 2 3", "eni-2");
    check("1b", "PoolExhausted");
    check("", "PoolExhausted");
}

#[test]
fn what_somebody_has_is_passed_over() {
    check("1@2 2! 3=r 4* 5", "eni-5");
    check("1#r=r 2#r=r", "PoolExhausted");
}

#[test]
fn a_record_that_may_be_written_keeps_the_member_that_it_was_promised() {
    for (words, expected) in [
        ("1 2", "eni-2"),
        ("1 2!", "eni-1"),
        ("1 2@2", "eni-1"),
        // This very instance has it: somebody attached it before.
        ("1 2@1", "eni-2"),
    ] {
        let mut world = world(words, InstanceState::Running);
        let record = think(&world, &[]).wishes[0].record.clone();
        let promised = |record: &str| Holder {
            record: record.to_owned(),
            pool: "p".to_owned(),
            uid: None,
        };
        let mut hold = |records: &[&str]| {
            let holders = records.iter().map(|record| promised(record)).collect();
            world.pools.holders.insert("eni-2".into(), holders);
            said(&think(&world, &[]))
        };
        assert_eq!(hold(&[&record]), expected);
        assert_eq!(hold(&["another"]), "eni-1");
        assert_eq!(hold(&[&record, "another"]), "eni-1");
    }
}

#[test]
fn a_mark_whose_record_is_gone_means_nothing() {
    check("1#gone", "eni-1");
}

#[test]
fn what_the_instance_has_already_comes_first() {
    check("1 2@1", "eni-2");
    check("1 2@1!", "eni-1");
}

#[test]
fn a_member_stays_as_its_owner_made_it() {
    let desired = think(&world("1", InstanceState::Running), &[]);
    let spec = &desired.wishes[0].spec;
    assert!(!spec.source_dest_check && !spec.delete_on_termination);
    assert_eq!((spec.security_group_ids.len(), &*spec.description), (0, ""));
}

#[test]
fn an_instance_that_stopped_takes_nothing_and_says_why() {
    let desired = think(&world("1", InstanceState::Stopped), &[]);
    assert_eq!(said(&desired), "InstancePending");
    assert!(desired.waits_for.is_empty());
}

/// The record of i-1, called `r`, that holds interface 1.
fn record() -> Arc<NodeEniAttachment> {
    let world = world("1", InstanceState::Running);
    let wish = think(&world, &[]).wishes.remove(0);
    let mut record = NodeEniAttachment::new(&wish.record, wish.spec);
    record.metadata.uid = Some("r".to_owned());
    Arc::new(record)
}

/// What becomes of the record in the end, if `words` is all there is.
#[track_caller]
fn check_held(words: &str, state: InstanceState, wanted: bool, expected: &str) {
    let record = record();
    let mut world = world(words, state);
    if wanted {
        let zone = ("p".to_owned(), "a".to_owned());
        world.pools.wanted.insert(zone);
    }
    let place = record.spec.pool.clone().expect("it holds a member");
    let holder = Holder {
        record: record.metadata.name.clone().expect("it has a name"),
        pool: place.name,
        uid: Some("r".to_owned()),
    };
    let holders = world.pools.holders.entry(place.eni_id).or_default();
    holders.push(holder);
    assert_eq!(said(&think(&world, &[record])), expected);
}

#[test]
fn a_record_keeps_its_member_whatever_else_is_free() {
    let running = InstanceState::Running;
    check_held("0 1", running, true, "eni-1");
    check_held("0 1#r@1", running, true, "eni-1");
    // Not in sight is not gone.
    check_held("0", running, false, "eni-1");
}

#[test]
fn a_record_yields_to_who_has_its_member() {
    let running = InstanceState::Running;
    let taken = format!("{:?}", Unwanted::MemberTaken);
    check_held("1@2", running, false, &taken);
    check_held("1!", running, false, &taken);
    check_held("1#other=other", running, false, &taken);
    // Who has it attached keeps it, and mends the marks.
    check_held("1@1!", running, false, "eni-1");
}

#[test]
fn a_stopped_instance_yields_only_to_one_that_waits() {
    let stopped = InstanceState::Stopped;
    check_held("1@1#r", stopped, false, "eni-1");
    check_held("1@1#r", stopped, true, "eni-1 NeededElsewhere");
}
