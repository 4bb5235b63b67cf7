use eniway_api::{Ec2Status, NodeEniAttachmentSpec, NodeEniAttachmentStatus};
use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;

fn record() -> NodeEniAttachment {
    let spec = NodeEniAttachmentSpec {
        node_name: "node1".to_owned(),
        instance_id: "i-1".into(),
        source_dest_check: true,
        ..NodeEniAttachmentSpec::default()
    };
    let mut record = NodeEniAttachment::new("record", spec);
    record.status = Some(NodeEniAttachmentStatus {
        ec2: Some(Ec2Status {
            eni_id: Some("eni-1".into()),
            mac_address: Some("02:00:00:00:00:01".parse().unwrap()),
            addresses: vec!["10.0.0.5/32".parse().unwrap()],
            prefixes: vec!["10.0.0.16/28".parse().unwrap()],
            subnet_cidrs: vec!["10.0.0.0/24".parse().unwrap()],
            ..Ec2Status::default()
        }),
        ..NodeEniAttachmentStatus::default()
    });
    record
}

fn check(change: impl FnOnce(&mut NodeEniAttachment), expected: &Expect) {
    let mut record = record();
    change(&mut record);
    let text = match wish(&record) {
        Wish::Wait => "wait".to_owned(),
        Wish::Provide(Desired {
            mtu,
            ingress,
            config,
            ..
        }) => {
            let addresses: Vec<String> = config.addresses.iter().map(ToString::to_string).collect();
            format!(
                "{:?} {:?} check={} mtu={mtu:?} {}",
                ingress,
                config.mode,
                config.source_dest_check,
                addresses.join(" ")
            )
        }
        Wish::Release { eni, force, .. } => format!("release {eni:?} force={force}"),
    };
    expected.assert_eq(&text);
}

fn asked(xdp: Option<XdpPolicy>, enforcement: Option<Enforcement>) -> Option<DataPath> {
    Some(DataPath {
        xdp,
        enforcement,
        ..DataPath::default()
    })
}

#[test]
fn without_a_data_path_there_is_no_xdp_and_nothing_is_dropped() {
    check(
        |_| {},
        &expect!["Tc Audit check=true mtu=None 10.0.0.5/32 10.0.0.16/28"],
    );
}

#[test]
fn an_empty_data_path_asks_for_all() {
    check(
        |record| record.spec.data_path = asked(None, None),
        &expect!["XdpAuto Enforce check=true mtu=None 10.0.0.5/32 10.0.0.16/28"],
    );
}

#[test]
fn what_is_asked_for_is_wished() {
    check(
        |record| {
            record.spec.data_path = asked(Some(XdpPolicy::Off), Some(Enforcement::Off));
            record.spec.source_dest_check = false;
            record.spec.mtu = Some(9001);
        },
        &expect!["Tc Off check=false mtu=Some(9001) 10.0.0.5/32 10.0.0.16/28"],
    );
}

#[test]
fn an_mtu_of_zero_is_none() {
    check(
        |record| record.spec.mtu = Some(0),
        &expect!["Tc Audit check=true mtu=None 10.0.0.5/32 10.0.0.16/28"],
    );
}

#[test]
fn before_ec2_has_told_the_mac_there_is_nothing_to_do() {
    let no_mac = |record: &mut NodeEniAttachment| {
        let status = record.status.as_mut().unwrap();
        status.ec2.as_mut().unwrap().mac_address = None;
    };
    check(no_mac, &expect!["wait"]);
    check(|record| record.status = None, &expect!["wait"]);
}

fn deleted(record: &mut NodeEniAttachment) {
    record.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
}

#[test]
fn a_deleted_record_is_released_and_force_is_the_users_word() {
    check(
        deleted,
        &expect![[r#"release Some(EniId("eni-1")) force=false"#]],
    );
    check(
        |record| {
            deleted(record);
            let annotations = record.metadata.annotations.get_or_insert_default();
            annotations.insert(ANNOTATION_FORCE_RELEASE.to_owned(), "true".to_owned());
        },
        &expect![[r#"release Some(EniId("eni-1")) force=true"#]],
    );
    check(
        |record| {
            deleted(record);
            record.status = None;
        },
        &expect!["release None force=false"],
    );
}

fn object(spec: &serde_json::Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "networking.k8s.aws/v1alpha1",
        "kind": "NodeENIAttachment",
        "metadata": {"name": "record", "uid": "u", "generation": 3},
        "spec": spec,
        "status": {"ec2": {"state": "Attached", "eniID": "eni-1"}},
    }))
    .unwrap()
}

fn spec() -> serde_json::Value {
    json!({
        "nodeName": "node1", "instanceID": "i-1", "nodeENI": {"name": "a", "uid": "b"},
        "subnetID": "subnet-1", "deleteOnTermination": true, "sourceDestCheck": true,
    })
}

#[test]
fn a_field_of_a_newer_release_is_tolerated() {
    let mut spec = spec();
    spec["quantum"] = json!({"entangled": true});
    assert!(matches!(Record::decode(object(&spec)), Record::Readable(_)));
}

#[test]
fn a_value_of_a_newer_release_makes_a_record_unreadable_but_not_nameless() {
    let mut spec = spec();
    spec["dataPath"] = json!({"xdp": "Hardware"});
    let record = Record::decode(object(&spec));
    let Record::Unreadable(unreadable) = &record else {
        panic!("{record:?}");
    };
    assert!(
        unreadable.error.contains("Hardware"),
        "{}",
        unreadable.error
    );
    assert_eq!(record.name(), "record");
    assert_eq!(record.eni(), Some(&"eni-1".into()));
    assert_eq!(record.generation(), Some(3));
}

#[test]
fn an_unreadable_record_can_still_be_released() {
    let mut spec = spec();
    spec["dataPath"] = json!({"xdp": "Hardware"});
    let mut object = object(&spec);
    object.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let Record::Unreadable(unreadable) = Record::decode(object) else {
        panic!("Hardware is unknown");
    };
    let release = Wish::Release {
        eni: Some("eni-1".into()),
        mac: None,
        force: false,
        network: Network::default(),
    };
    assert_eq!(unreadable.release, Some(release));
}
