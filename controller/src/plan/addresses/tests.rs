use std::collections::BTreeSet;

use eniway_api::{
    Asked, Assigning, Ec2Status, Ipv4Wish, Ipv6Wish, MacAddress, NodeEniAttachment,
    NodeEniAttachmentSpec,
};
use eniway_ec2::{Eni, Tags};
use ipnet::IpNet;

use super::{
    balance::{Balance, at_creation, balance, claimed},
    gives_up, will_take,
};

fn nets(text: &str) -> Vec<IpNet> {
    text.split_whitespace()
        .map(|one| one.parse().unwrap())
        .collect()
}

/// An interface with 10.0.0.4 and these.
fn eni(entries: &str) -> Eni {
    let (prefixes, mut addresses): (Vec<_>, Vec<_>) = nets(entries)
        .into_iter()
        .partition(|net| net.prefix_len() != net.max_prefix_len());
    addresses.insert(0, "10.0.0.4/32".parse().unwrap());
    Eni {
        id: "eni-1".into(),
        subnet: "subnet-1".into(),
        zone: "a".to_owned(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        attachment: None,
        groups: Vec::new(),
        source_dest_check: true,
        description: String::new(),
        addresses,
        prefixes,
        association: None,
        tags: Tags::default(),
    }
}

fn ipv4(addresses: &str, secondary: u32, prefixes: u32) -> NodeEniAttachmentSpec {
    NodeEniAttachmentSpec {
        ipv4: Some(Ipv4Wish {
            addresses: addresses
                .split_whitespace()
                .map(|one| one.parse().unwrap())
                .collect(),
            secondary_count: Some(secondary),
            prefix_count: Some(prefixes),
        }),
        ..NodeEniAttachmentSpec::default()
    }
}

fn ipv6(addresses: u32, prefixes: u32) -> NodeEniAttachmentSpec {
    NodeEniAttachmentSpec {
        ipv6: Some(Ipv6Wish {
            address_count: Some(addresses),
            prefix_count: Some(prefixes),
        }),
        ..NodeEniAttachmentSpec::default()
    }
}

fn said(asked: &Asked) -> String {
    let Asked {
        addresses,
        secondary,
        prefixes,
        ipv6,
        ipv6_prefixes,
    } = asked;
    format!("{addresses:?} {secondary} {prefixes} {ipv6} {ipv6_prefixes}")
}

/// What is missing, goes, stays for a pod, and is another's; 10.0.0.7 is a pod's, 10.0.0.8 another's.
#[track_caller]
fn check(spec: &NodeEniAttachmentSpec, there: &str, ours: &str, expected: &str) {
    let ours: BTreeSet<_> = nets(ours).into_iter().collect();
    let holder =
        |address: &std::net::Ipv4Addr| (address.octets()[3] == 8).then(|| "another".to_owned());
    let pod = |entry: &IpNet| {
        let theirs: IpNet = "10.0.0.7/32".parse().unwrap();
        Some((*entry == theirs).then(|| "apps/one".to_owned()))
    };
    let Balance {
        missing,
        off,
        kept,
        taken,
    } = balance(spec, &eni(there), &ours, holder, pod);
    let listed = |entries: Vec<String>| entries.join(" ");
    let off = listed(off.iter().map(ToString::to_string).collect());
    let kept = listed(kept.iter().map(|(entry, _)| entry.to_string()).collect());
    let taken = listed(
        taken
            .iter()
            .map(|(address, _)| address.to_string())
            .collect(),
    );
    assert_eq!(
        format!("{}; {off}; {kept}; {taken}", said(&missing)),
        expected
    );
}

#[test]
fn what_is_not_ours_is_neither_counted_nor_taken_off() {
    check(&ipv4("", 1, 0), "10.0.0.5/32", "", "[] 1 0 0 0; ; ; ");
    check(
        &ipv4("", 0, 0),
        "10.0.0.5/32 10.0.0.6/32",
        "10.0.0.6/32",
        "[] 0 0 0 0; 10.0.0.6/32; ; ",
    );
    check(
        &ipv4("10.0.0.5", 0, 0),
        "10.0.0.5/32",
        "",
        "[] 0 0 0 0; ; ; ",
    );
}

#[test]
fn a_family_that_is_not_asked_about_is_left_alone() {
    let unasked = NodeEniAttachmentSpec::default();
    check(&unasked, "10.0.0.5/32", "10.0.0.5/32", "[] 0 0 0 0; ; ; ");
    check(
        &ipv6(0, 1),
        "10.0.0.5/32 fd00::5/128",
        "10.0.0.5/32 fd00::5/128",
        "[] 0 0 0 1; fd00::5/128; ; ",
    );
}

#[test]
fn the_newest_go_first_and_those_of_pods_stay() {
    let ours = "10.0.0.5/32 10.0.0.6/32 10.0.0.7/32";
    check(&ipv4("", 2, 0), ours, ours, "[] 0 0 0 0; 10.0.0.6/32; ; ");
    check(
        &ipv4("", 1, 0),
        ours,
        ours,
        "[] 0 0 0 0; 10.0.0.5/32 10.0.0.6/32; ; ",
    );
    check(
        &ipv4("", 0, 0),
        ours,
        ours,
        "[] 0 0 0 0; 10.0.0.5/32 10.0.0.6/32; 10.0.0.7/32; ",
    );
}

#[test]
fn one_of_ours_that_no_read_shows_counts_until_it_is_known_to_be_gone() {
    check(
        &ipv4("", 2, 0),
        "10.0.0.5/32",
        "10.0.0.5/32 10.0.0.6/32",
        "[] 0 0 0 0; ; ; ",
    );
}

#[test]
fn a_named_address_of_ours_stays_and_one_of_another_is_told() {
    let spec = ipv4("10.0.0.5 10.0.0.8 10.0.0.9", 0, 0);
    check(
        &spec,
        "10.0.0.5/32 10.0.0.6/32",
        "10.0.0.5/32 10.0.0.6/32",
        "[10.0.0.9] 0 0 0 0; 10.0.0.6/32; ; 10.0.0.8",
    );
    check(&ipv4("10.0.0.4", 0, 0), "", "", "[] 0 0 0 0; ; ; ");
}

#[test]
fn another_kind_replaces_the_one_before() {
    check(
        &ipv4("", 0, 1),
        "10.0.0.5/32",
        "10.0.0.5/32",
        "[] 0 1 0 0; 10.0.0.5/32; ; ",
    );
}

#[test]
fn a_creation_asks_for_what_is_free_and_for_one_kind_of_each_family() {
    let check = |spec: &NodeEniAttachmentSpec, expected: &str| {
        let asked = at_creation(spec, |address| address.octets()[3] != 8);
        assert_eq!(said(&asked), expected);
    };
    check(&ipv4("10.0.0.5 10.0.0.8", 0, 0), "[10.0.0.5] 0 0 0 0");
    check(&ipv6(2, 1), "[] 0 0 2 0");
    let mut both = ipv4("", 0, 2);
    both.ipv6 = ipv6(0, 1).ipv6;
    check(&both, "[] 0 2 0 1");
}

/// What is ours after a call whose answer was lost.
#[track_caller]
fn check_claim(asked: Asked, before: &str, there: &str, expected: &str) {
    let before = nets(before);
    let ours = claimed(&Assigning { asked, before }, &eni(there));
    assert_eq!(ours, nets(expected).into_iter().collect());
}

#[test]
fn what_is_new_is_ours_as_far_as_it_was_asked_for() {
    let two = Asked {
        secondary: 2,
        ..Asked::default()
    };
    check_claim(two.clone(), "10.0.0.5/32", "10.0.0.5/32", "");
    check_claim(
        two.clone(),
        "10.0.0.5/32",
        "10.0.0.5/32 10.0.0.6/32 10.0.0.7/32 10.0.1.0/28",
        "10.0.0.6/32 10.0.0.7/32",
    );
    check_claim(
        two,
        "",
        "10.0.0.5/32 10.0.0.6/32 10.0.0.7/32",
        "10.0.0.5/32 10.0.0.6/32",
    );
    let named = Asked {
        addresses: vec!["10.0.0.6".parse().unwrap()],
        ..Asked::default()
    };
    check_claim(named, "", "10.0.0.5/32 10.0.0.6/32", "10.0.0.6/32");
}

/// A record whose interface, if it has one, has these of ours.
fn record(spec: NodeEniAttachmentSpec, ours: Option<&str>) -> NodeEniAttachment {
    let mut record = NodeEniAttachment::new("one", spec);
    if let Some(ours) = ours {
        record.status.get_or_insert_default().ec2 = Some(Ec2Status {
            eni_id: Some("eni-1".into()),
            assigned: nets(ours).into_iter().collect(),
            ..Ec2Status::default()
        });
    }
    record
}

#[test]
fn the_ledger_counts_what_a_record_will_take_and_a_prefix_as_sixteen() {
    let unasked = NodeEniAttachmentSpec::default;
    assert_eq!(will_take(&record(unasked(), None)), 1);
    assert_eq!(will_take(&record(unasked(), Some(""))), 0);
    assert_eq!(will_take(&record(ipv4("", 3, 0), None)), 4);
    assert_eq!(will_take(&record(ipv4("", 0, 2), None)), 33);
    assert_eq!(will_take(&record(ipv4("10.0.0.5 10.0.0.6", 0, 0), None)), 3);
    assert_eq!(will_take(&record(ipv4("", 3, 0), Some("10.0.0.5/32"))), 2);
    assert_eq!(
        will_take(&record(ipv4("", 0, 2), Some("10.0.1.0/28 fd00::5/128"))),
        16
    );
    assert_eq!(will_take(&record(ipv6(3, 3), Some(""))), 0);
}

#[test]
fn pods_are_asked_about_when_there_is_something_to_take_off() {
    let gives_up = |spec, ours| gives_up(&record(spec, Some(ours)));
    assert!(gives_up(ipv4("", 1, 0), "10.0.0.5/32 10.0.0.6/32"));
    assert!(!gives_up(ipv4("", 2, 0), "10.0.0.5/32 10.0.0.6/32"));
    assert!(!gives_up(NodeEniAttachmentSpec::default(), "10.0.0.5/32"));
    assert!(
        !gives_up(ipv6(0, 0), "10.0.0.5/32"),
        "of IPv4 nothing is said"
    );
}
