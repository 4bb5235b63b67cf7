use std::time::{Duration, Instant};

use eniway_api::{MacAddress, mark};

use super::Snapshot;
use crate::{Eni, Tags};

const GRACE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn eni(id: &str) -> Eni {
    Eni {
        id: id.into(),
        subnet: "subnet-1".into(),
        zone: "a".to_owned(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        attachment: None,
        groups: Vec::new(),
        source_dest_check: true,
        description: String::new(),
        addresses: Vec::new(),
        prefixes: Vec::new(),
        association: None,
        tags: Tags::from_iter([(mark::TAG_ATTACHMENT, format!("uid-{id}"))]),
    }
}

#[test]
fn a_read_that_began_before_our_write_does_not_undo_it() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(GRACE);
    snapshot.created(eni("eni-1"), start + SECOND);
    let mut changed = eni("eni-1");
    changed.description = "old".to_owned();
    snapshot.read_all_enis(vec![changed], start);
    assert_eq!(snapshot.eni(&"eni-1".into()).unwrap().description, "");
}

#[test]
fn what_we_just_made_stays_though_a_lagging_read_lacks_it() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(GRACE);
    snapshot.created(eni("eni-1"), start);
    snapshot.read_all_enis(Vec::new(), start + SECOND);
    assert!(snapshot.eni(&"eni-1".into()).is_some());
    snapshot.confirm(&["eni-1".into()], Vec::new(), start + SECOND);
    assert!(!snapshot.is_gone(&"eni-1".into()));
}

#[test]
fn what_we_just_made_is_not_gone_though_a_call_and_a_look_by_id_say_so() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(GRACE);
    snapshot.created(eni("eni-1"), start);
    snapshot.read_all_enis(Vec::new(), start);
    snapshot.forget(&"eni-1".into(), start);
    snapshot.confirm(&["eni-1".into()], Vec::new(), start + SECOND);
    assert!(!snapshot.is_gone(&"eni-1".into()));
    snapshot.confirm(&["eni-1".into()], Vec::new(), start + GRACE + SECOND);
    assert!(snapshot.is_gone(&"eni-1".into()));
}

#[test]
fn absent_from_a_whole_read_is_unknown_and_absent_by_id_is_gone() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(GRACE);
    snapshot.read_all_enis(vec![eni("eni-1")], start);
    assert_eq!(snapshot.of_record("uid-eni-1").count(), 1);
    snapshot.read_all_enis(Vec::new(), start + SECOND);
    assert!(snapshot.eni(&"eni-1".into()).is_none());
    assert!(!snapshot.is_gone(&"eni-1".into()));
    snapshot.confirm(&["eni-1".into()], Vec::new(), start + GRACE);
    assert!(snapshot.is_gone(&"eni-1".into()));
    assert_eq!(snapshot.of_record("uid-eni-1").count(), 0);
}

#[test]
fn what_a_process_before_us_may_just_have_made_is_not_gone() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(GRACE);
    snapshot.read_all_enis(Vec::new(), start);
    snapshot.confirm(&["eni-1".into()], Vec::new(), start + SECOND);
    assert!(!snapshot.is_gone(&"eni-1".into()));
    snapshot.confirm(&["eni-1".into()], Vec::new(), start + GRACE);
    assert!(snapshot.is_gone(&"eni-1".into()));
}

#[test]
fn what_was_seen_and_is_absent_by_id_is_gone_at_once() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(GRACE);
    snapshot.read_all_enis(vec![eni("eni-1")], start);
    snapshot.confirm(&["eni-1".into()], Vec::new(), start + SECOND);
    assert!(snapshot.is_gone(&"eni-1".into()));
}

#[test]
fn a_read_that_began_before_a_delete_does_not_bring_the_interface_back() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(GRACE);
    snapshot.read_all_enis(vec![eni("eni-1")], start);
    snapshot.deleted(&"eni-1".into(), start + SECOND);
    snapshot.read_all_enis(vec![eni("eni-1")], start);
    assert!(snapshot.is_gone(&"eni-1".into()));
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

/// The interface's addresses after a read that shows `seen`, begun so many seconds after ours.
#[track_caller]
fn check_addresses(seen: &[&str], seconds: u32, expected: &[&str]) {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(GRACE);
    let mut before = eni("eni-1");
    before.addresses = vec![net("10.0.0.1/32"), net("10.0.0.2/32"), net("fd00::1/128")];
    snapshot.read_all_enis(vec![before.clone()], start - SECOND);
    snapshot.assigned(&before.id, &[net("10.0.0.3/32")], start);
    snapshot.unassigned(&before.id, &[net("10.0.0.2/32")].into(), start);
    before.addresses = seen.iter().copied().map(net).collect();
    snapshot.read_all_enis(vec![before.clone()], start + SECOND * seconds);
    let addresses = &snapshot.eni(&before.id).unwrap().addresses;
    let expected: Vec<_> = expected.iter().copied().map(net).collect();
    assert_eq!(*addresses, expected);
}

#[test]
fn a_late_read_neither_takes_back_what_we_assigned_nor_hides_what_others_did() {
    let stale = ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.9/32", "fd00::1/128"];
    let right = ["10.0.0.1/32", "10.0.0.9/32", "10.0.0.3/32", "fd00::1/128"];
    check_addresses(&stale, 1, &right);
    check_addresses(&stale, 59, &right);
}

#[test]
fn once_reads_have_caught_up_they_are_believed() {
    check_addresses(&["10.0.0.1/32"], 60, &["10.0.0.1/32"]);
}
