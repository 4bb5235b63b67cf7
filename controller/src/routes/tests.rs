use std::time::{Duration, Instant};

use eniway_api::{
    Ec2State, Ec2Status, NodeEniAttachmentStatus, NodeEniSpec, NodePhase, NodeStatus, VpcRoute,
};
use eniway_ec2::{Attachment, Eni, Instance, Tags};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;

const WHERE: &str = "10.9.0.0/16";

/// Interfaces `eni-1`, `eni-2`, … on nodes of their numbers, in these states: `ready`, `silent`,
/// `broken`, `going`, `stopped`, `gone` (which EC2 does not know any more).
fn world(states: &[&str]) -> (Vec<Arc<NodeEniAttachment>>, Snapshot) {
    let now = Instant::now();
    let mut snapshot = Snapshot::new(Duration::ZERO);
    let (mut records, mut enis, mut instances) = (Vec::new(), Vec::new(), Vec::new());
    for (number, state) in (1..).zip(states) {
        let instance = format!("i-{number}");
        let eni = format!("eni-{number}");
        let phase = match *state {
            "silent" => None,
            "broken" => Some(NodePhase::Failed),
            _ => Some(NodePhase::Ready),
        };
        let mut record = NodeEniAttachment::new(&format!("record-{number}"), Default::default());
        record.spec.node_name = format!("node{number}");
        record.spec.instance_id = instance.as_str().into();
        record.metadata.deletion_timestamp =
            (*state == "going").then_some(Time(Timestamp::UNIX_EPOCH));
        record.status = Some(NodeEniAttachmentStatus {
            ec2: Some(Ec2Status {
                state: Ec2State::Attached,
                eni_id: Some(eni.as_str().into()),
                ..Ec2Status::default()
            }),
            node: phase.map(|phase| NodeStatus {
                phase,
                ..NodeStatus::default()
            }),
            conditions: Vec::new(),
        });
        instances.push(Instance {
            id: instance.as_str().into(),
            vpc: None,
            zone: "a".to_owned(),
            state: if *state == "stopped" {
                InstanceState::Stopped
            } else {
                InstanceState::Running
            },
            instance_type: "m5.large".to_owned(),
            interfaces: Vec::new(),
        });
        if *state == "gone" {
            continue;
        }
        records.push(Arc::new(record));
        enis.push(Eni {
            id: eni.as_str().into(),
            subnet: "subnet-1".into(),
            zone: "a".to_owned(),
            mac: "06:00:00:00:00:01".parse().unwrap(),
            attachment: Some(Attachment {
                id: "eni-attach-1".into(),
                instance: instance.as_str().into(),
                device_index: 1,
                network_card_index: 0,
                state: AttachmentState::Attached,
                delete_on_termination: true,
                ena_queue_count: None,
            }),
            groups: Vec::new(),
            source_dest_check: false,
            description: String::new(),
            addresses: Vec::new(),
            prefixes: Vec::new(),
            association: None,
            tags: Tags::from_iter([
                (mark::TAG_NODE_ENI_UID, "uid"),
                (mark::TAG_ROLE, "attachment"),
            ]),
        });
    }
    snapshot.read_all_enis(enis, now);
    snapshot.read_all_instances(instances, now);
    (records, snapshot)
}

/// What is decided on a route to `target` (with `!`: a blackhole; empty: none), that the status lists
/// as `listed` (with `+`: created), asked for or not.
fn decide(states: &[&str], target: &str, listed: &str, asked: bool, deleting: bool) -> String {
    decide_by(true, states, target, listed, asked, deleting)
}

/// The same, by tables that were read late enough, or too early.
fn decide_by(
    settled: bool,
    states: &[&str],
    target: &str,
    listed: &str,
    asked: bool,
    deleting: bool,
) -> String {
    let (records, mut snapshot) = world(states);
    if settled {
        snapshot.read_tables(Vec::new(), Instant::now());
    }
    let destination: IpNet = WHERE.parse().unwrap();
    let mut node_eni = NodeEni::new(
        "n",
        NodeEniSpec {
            source_dest_check: Some(false),
            routes: Vec::from_iter(asked.then(|| VpcRoute {
                route_table_id: "rtb-1".into(),
                destination,
            })),
            ..NodeEniSpec::default()
        },
    );
    node_eni.metadata.uid = Some("uid".to_owned());
    node_eni.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
    let name = target.trim_end_matches('!');
    let route = (!target.is_empty()).then(|| Route {
        destination,
        target: if name.starts_with("eni-") {
            RouteTarget::Interface(name.into())
        } else {
            RouteTarget::Other(name.to_owned())
        },
        blackhole: target.ends_with('!'),
    });
    let tables = [RouteTable {
        id: "rtb-1".into(),
        routes: Vec::from_iter(route),
    }];
    let listed = (!listed.is_empty()).then(|| RouteStatus {
        route_table_id: "rtb-1".into(),
        destination,
        eni_id: listed.trim_end_matches('+').into(),
        created: listed.ends_with('+'),
    });
    let decided = routes(Inputs {
        node_eni: &node_eni,
        records: &records,
        snapshot: &snapshot,
        tables: &tables,
        listed: listed.as_slice(),
    });
    let mut words: Vec<String> = decided.changes.iter().map(ToString::to_string).collect();
    words.extend(decided.troubles.iter().map(|one| one.reason.to_owned()));
    words.extend(decided.listed.iter().map(|one| {
        let created = if one.created { "+" } else { "" };
        format!("lists {}{created}", one.eni_id)
    }));
    words.join("; ")
}

#[track_caller]
fn asked(states: &[&str], target: &str, listed: &str, expected: &str) {
    assert_eq!(decide(states, target, listed, true, false), expected);
}

#[test]
fn a_missing_route_is_created_to_the_first_that_is_ready() {
    let created = "create the route 10.9.0.0/16 to eni-2 in rtb-1; lists eni-2+";
    asked(&["broken", "ready", "ready"], "", "", created);
    asked(&["silent", "ready"], "", "", created);
    let silent = "create the route 10.9.0.0/16 to eni-1 in rtb-1; lists eni-1+";
    asked(&["silent", "broken"], "", "", silent);
    asked(&["stopped", "going"], "", "", "NoReadyInterface");
}

#[test]
fn who_has_it_keeps_it_while_it_is_ready_and_then_it_moves() {
    asked(&["ready", "ready"], "eni-2", "eni-2+", "lists eni-2+");
    asked(&["ready", "ready"], "eni-2", "", "lists eni-2");
    let moves = "point the route 10.9.0.0/16 in rtb-1 at eni-1; lists eni-2+; lists eni-1+";
    for state in ["going", "broken", "stopped"] {
        asked(&["ready", state], "eni-2", "eni-2+", moves);
    }
    asked(&["ready", "gone"], "eni-2!", "eni-2+", moves);
    let nobody = "NoReadyInterface; lists eni-1+";
    asked(&["going"], "eni-1", "eni-1+", nobody);
    asked(&["ready"], "eni-1!", "eni-1", "RouteBlackhole; lists eni-1");
}

#[test]
fn what_leads_to_somebody_else_is_left_alone() {
    asked(&["ready"], "igw-1", "", "RouteForeign");
    asked(&["ready"], "igw-1", "eni-1+", "RouteForeign");
    asked(&["ready"], "eni-9", "eni-1+", "RouteForeign");
    asked(&["ready"], "eni-9!", "eni-1+", "RouteForeign");
    // It was ours, and somebody forwards there: not any more.
    asked(&["ready", "gone"], "eni-2", "eni-2+", "RouteForeign");
}

#[test]
fn what_is_not_asked_for_is_told_of_and_deleted_only_if_it_is_of_our_making() {
    let unasked = |target, listed| decide(&["ready", "gone"], target, listed, false, false);
    assert_eq!(unasked("eni-1", ""), "lists eni-1");
    assert_eq!(unasked("eni-1!", ""), "RouteBlackhole; lists eni-1");
    assert_eq!(unasked("eni-2!", "eni-2"), "RouteBlackhole; lists eni-2");
    assert_eq!(unasked("eni-2!", ""), "");
    let deleted = "delete the route 10.9.0.0/16 in rtb-1; lists eni-1+";
    assert_eq!(unasked("eni-1", "eni-1+"), deleted);
    assert_eq!(unasked("igw-1", "eni-1+"), "");

    let end = |target, listed| decide(&["going"], target, listed, true, true);
    assert_eq!(end("eni-1", "eni-1+"), deleted);
    assert_eq!(end("eni-1", "eni-1"), "");
    assert_eq!(end("", "eni-1+"), "");
}

#[test]
fn what_we_made_is_not_forgotten_while_the_tables_may_be_old() {
    let old = |target, asked, deleting| {
        let states = ["gone", "gone"];
        decide_by(false, &states, target, "eni-2+", asked, deleting)
    };
    // It is not there yet, its interface was there still, and it led elsewhere.
    for target in ["", "eni-2", "eni-1"] {
        assert_eq!(old(target, false, true), "lists eni-2+");
        assert_eq!(old(target, false, false), "lists eni-2+");
    }
    assert_eq!(old("", true, false), "NoReadyInterface; lists eni-2+");
    let made = decide_by(false, &["ready"], "", "eni-1+", false, true);
    assert_eq!(made, "lists eni-1+");
}
