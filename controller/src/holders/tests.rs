use eniway_api::MacAddress;
use eniway_ec2::{Eni, Tags};
use k8s_openapi::api::core::v1::Pod as KubePod;
use serde_json::json;

use super::{Pod, of_address, of_interface};

/// A pod with an address of the cluster's network, and `networks` beside.
fn pod(name: &str, phase: &str, networks: &serde_json::Value) -> Option<Pod> {
    let pod = json!({
        "metadata": {"namespace": "apps", "name": name, "annotations": {
            "k8s.v1.cni.cncf.io/network-status": networks.to_string()}},
        "status": {"phase": phase, "podIPs": [{"ip": "10.0.0.77"}]},
    });
    Pod::read(&serde_json::from_value::<KubePod>(pod).unwrap())
}

fn eni() -> Eni {
    Eni {
        id: "eni-1".into(),
        subnet: "subnet-1".into(),
        zone: "a".to_owned(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        attachment: None,
        groups: Vec::new(),
        source_dest_check: true,
        description: String::new(),
        addresses: vec!["10.0.8.4/32".parse().unwrap()],
        prefixes: vec!["10.0.8.16/28".parse().unwrap()],
        association: None,
        tags: Tags::default(),
    }
}

/// Whether a pod with this network uses the interface.
#[track_caller]
fn check(network: &serde_json::Value, uses: bool) {
    let pods = [pod("one", "Running", &json!([network])).unwrap()];
    assert_eq!(
        of_interface(&pods, &eni()).len(),
        usize::from(uses),
        "{network}"
    );
}

#[test]
fn a_pod_uses_the_interface_whose_mac_or_addresses_it_was_given() {
    check(
        &json!({"name": "apps/host-device", "mac": "02:00:00:00:00:01"}),
        true,
    );
    check(
        &json!({"name": "apps/ipvlan", "mac": "02:00:00:00:00:02", "ips": ["10.0.8.4"]}),
        true,
    );
    check(
        &json!({"name": "apps/ipvlan", "ips": ["10.0.8.20/22"]}),
        true,
    );
    check(
        &json!({"name": "cbr0", "default": true, "mac": "02:00:00:00:00:02", "ips": ["10.0.0.77"]}),
        false,
    );
    check(&json!({"name": "dpdk"}), false);
    check(&json!({"name": "odd", "mac": 7}), false);
}

#[test]
fn a_pod_that_has_ended_uses_nothing() {
    let network = json!([{"mac": "02:00:00:00:00:01"}]);
    for (phase, lives) in [
        ("Pending", true),
        ("Running", true),
        ("Succeeded", false),
        ("Failed", false),
    ] {
        assert_eq!(pod("one", phase, &network).is_some(), lives, "{phase}");
    }
}

#[test]
fn an_address_is_used_by_who_was_given_it_or_has_it_in_its_status() {
    let pods = [
        pod("one", "Running", &json!([{"ips": ["10.0.8.20"]}])).unwrap(),
        pod("two", "Running", &json!([])).unwrap(),
    ];
    let user = |entry: &str| of_address(&pods, &entry.parse().unwrap()).map(Pod::name);
    assert_eq!(user("10.0.8.20/32").as_deref(), Some("apps/one"));
    assert_eq!(user("10.0.8.16/28").as_deref(), Some("apps/one"));
    assert_eq!(
        user("10.0.0.77/32").as_deref(),
        Some("apps/one"),
        "the first that has it"
    );
    assert_eq!(user("10.0.8.21/32"), None);
}
