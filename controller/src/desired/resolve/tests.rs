//! Which subnets and groups a spec means, by one small catalog.

use std::{collections::BTreeMap, time::Duration};

use eniway_api::{NodeEniSpec, TagSelector, node_eni::Tag};
use eniway_ec2::{Group, Snapshot, Subnet};

use super::Catalog;

fn tags(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn selector(text: &str) -> Option<TagSelector> {
    let tags = tags(text).into_iter().map(|(k, v)| (k, Tag(v))).collect();
    Some(TagSelector { tags })
}

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::new(Duration::ZERO);
    for (id, text) in [
        ("subnet-1", "Name=one tier=data team=net"),
        ("subnet-2", "Name=two tier=data"),
        ("subnet-3", "Name=three"),
    ] {
        let subnet = Subnet {
            id: id.into(),
            vpc: "vpc-1".into(),
            zone: "a".to_owned(),
            cidrs: Vec::new(),
            free_addresses: 9,
            tags: tags(text),
        };
        snapshot.subnets.insert(subnet.id.clone(), subnet);
    }
    for (id, text) in [("sg-1", "tier=data"), ("sg-2", "tier=data"), ("sg-3", "")] {
        snapshot.groups.push(Group {
            id: id.into(),
            name: id.to_owned(),
            tags: tags(text),
        });
    }
    snapshot
}

/// Subnets with their positions, groups, and what is said of those that are missing.
#[track_caller]
fn check(spec: &NodeEniSpec, expected: &str) {
    let (vpc, snapshot) = ("vpc-1".into(), snapshot());
    let catalog = Catalog {
        vpc: &vpc,
        snapshot: &snapshot,
    };
    let (subnets, groups) = (catalog.subnets(spec), catalog.groups(spec));
    let found = subnets
        .found
        .iter()
        .map(|(at, one)| format!("{at}:{}", one.id));
    let found = found.chain(groups.found.iter().map(ToString::to_string));
    let problems = subnets.problems.iter().chain(&groups.problems);
    let said: Vec<_> = found
        .chain(problems.map(|(reason, message, _)| format!("{reason}: {message}")))
        .collect();
    assert_eq!(said.join("; "), expected);
}

#[test]
fn a_selector_means_every_subnet_with_all_of_its_tags() {
    let one = NodeEniSpec {
        subnet_selector: selector("tier=data team=net"),
        ..NodeEniSpec::default()
    };
    check(&one, "0:subnet-1");
    let both = NodeEniSpec {
        subnet_selector: selector("tier=data"),
        ..NodeEniSpec::default()
    };
    check(&both, "0:subnet-1; 1:subnet-2");
}

#[test]
fn what_is_listed_and_selected_counts_once_where_it_is_listed() {
    let spec = NodeEniSpec {
        subnet_names: vec!["two".to_owned()],
        subnet_selector: selector("tier=data"),
        ..NodeEniSpec::default()
    };
    check(&spec, "0:subnet-2; 1:subnet-1");
}

#[test]
fn groups_by_tags_join_those_by_id() {
    let spec = NodeEniSpec {
        security_group_ids: vec!["sg-3".into()],
        security_group_selector: selector("tier=data"),
        ..NodeEniSpec::default()
    };
    check(&spec, "sg-1; sg-2; sg-3");
}

#[test]
fn a_selector_that_nothing_matches_is_named() {
    let spec = NodeEniSpec {
        subnet_selector: selector("tier=none"),
        security_group_selector: selector("team=none tier=data"),
        ..NodeEniSpec::default()
    };
    check(
        &spec,
        "SubnetNotFound: vpc-1 has no subnet with the tags tier=none of subnetSelector; \
         SecurityGroupNotFound: vpc-1 has no security group with the tags team=none, tier=data of \
         securityGroupSelector",
    );
}
