//! The custom resources, as a real API server takes and refuses them. Needs root (the lab).

use std::fs;

use lab::{Config, Lab};

use crate::agent_node::established;

/// A NodeENI whose spec is valid but for what `spec` adds or replaces, one `key: value` a line.
fn manifest(name: &str, spec: &str) -> String {
    let said = |key: &str| spec.lines().any(|line| line.starts_with(key));
    let mut text = format!(
        "apiVersion: networking.k8s.aws/v1alpha1\nkind: NodeENI\nmetadata: {{name: {name}}}\nspec:\n"
    );
    for (key, default) in [
        ("nodeSelector", "{ng: multi-eni}"),
        ("subnetName", "multus-a"),
        ("securityGroupNames", "[multus]"),
    ] {
        if !said(key) && !said(&format!("no {key}")) {
            text.push_str(&format!("  {key}: {default}\n"));
        }
    }
    for line in spec.lines().filter(|line| !line.starts_with("no ")) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

fn apply(lab: &Lab, manifest: &str) -> Result<String, String> {
    lab.apply(manifest).map_err(|error| error.to_string())
}

/// What the manifest alone shows wrong, and what the API server answers.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "empty-selector",
        "nodeSelector: {}",
        "an empty nodeSelector would match every node",
    ),
    (
        "no-selector",
        "no nodeSelector",
        "an empty nodeSelector would match every node",
    ),
    (
        "share-of-nothing",
        "updatePolicy: {maxUnavailable: 0%}",
        "maxUnavailable is a number from 1, or a share from 1% to 100%",
    ),
    (
        "none-unavailable",
        "updatePolicy: {maxUnavailable: 0}",
        "maxUnavailable is a number from 1, or a share from 1% to 100%",
    ),
    (
        "values-missing",
        "nodeSelectorExpressions: [{key: tier, operator: In}]",
        "In and NotIn need values, Exists and DoesNotExist take none",
    ),
    (
        "values-too-many",
        "nodeSelectorExpressions: [{key: tier, operator: Exists, values: [data]}]",
        "In and NotIn need values, Exists and DoesNotExist take none",
    ),
    (
        "greater-than",
        "nodeSelectorExpressions: [{key: tier, operator: Gt, values: ['1']}]",
        "supported values: \"In\", \"NotIn\", \"Exists\", \"DoesNotExist\"",
    ),
    (
        "every-subnet",
        "no subnetName\nsubnetSelector: {tags: {}}",
        "an empty selector would match everything in the VPC",
    ),
    (
        "no-subnet",
        "no subnetName",
        "name a subnet: one of subnetID, subnetIDs",
    ),
    (
        "empty-subnets",
        "no subnetName\nsubnetIDs: []",
        "name a subnet",
    ),
    ("no-group", "no securityGroupNames", "name a security group"),
    (
        "mtu-small",
        "mtu: 1279",
        "mtu is 0 (leave it) or 1280 to 9216",
    ),
    ("mtu-large", "mtu: 9217", "less than or equal to 9216"),
    ("index-0", "deviceIndex: 0", "greater than or equal to 1"),
    ("index-32", "deviceIndex: 32", "less than or equal to 31"),
    (
        "subnet-id",
        "subnetID: subnet-XYZ",
        "spec.subnetID in body should match",
    ),
    (
        "group-id",
        "securityGroupIDs: [group-1]",
        "spec.securityGroupIDs[0] in body should match",
    ),
    (
        "pci",
        "dpdkPCIAddress: '00:07.0'",
        "spec.dpdkPCIAddress in body should match",
    ),
    ("policy", "subnetPolicy: Any", "Unsupported value: \"Any\""),
    (
        "xdp",
        "dataPath: {xdp: native}",
        "supported values: \"Auto\", \"Native\", \"Generic\", \"Off\"",
    ),
    (
        "policy-of-tc",
        "dataPath: {mtuPolicy: Lower}",
        "must not validate the schema (not)",
    ),
    (
        "policy-of-auto",
        "dataPath: {xdp: Auto, channelPolicy: Reduce}",
        "must not validate the schema (not)",
    ),
    (
        "mtu-policy",
        "dataPath: {xdp: Native, mtuPolicy: Raise}",
        "supported values: \"Fail\", \"Lower\"",
    ),
    (
        "ports-of-nothing",
        "dataPath: {steering: [{match: {destinationPorts: [80]}, action: {type: Drop}}]}",
        "ports are those of a protocol: name TCP, UDP or SCTP beside them",
    ),
    (
        "redirect-nowhere",
        "dataPath: {steering: [{action: {type: Redirect}}]}",
        "Redirect needs an interface, and nothing else takes one",
    ),
    (
        "drop-to-a-cpu",
        "dataPath: {steering: [{action: {type: Drop, cpus: [1]}}]}",
        "Cpu needs cpus, and nothing else takes them",
    ),
    (
        "no-prefix",
        "dataPath: {steering: [{match: {source: 10.0.0.1}, action: {type: Drop}}]}",
        "should match",
    ),
    (
        "no-port",
        "dataPath: {steering: [{match: {protocol: TCP, sourcePorts: [http]}, action: {type: Drop}}]}",
        "should match",
    ),
    (
        "dpdk-xdp",
        "enableDPDK: true\ndataPath: {xdp: Auto}",
        "an interface that DPDK drives runs no XDP or TC program",
    ),
    (
        "dpdk-alias",
        "dpdkEnabled: true\ndataPath: {}",
        "an interface that DPDK drives runs no XDP or TC program",
    ),
    (
        "keep-and-delete",
        "deletionPolicy: Retain\ndeleteOnTermination: true",
        "deleteOnTermination: true deletes what deletionPolicy: Retain keeps",
    ),
    (
        "two-kinds",
        "ipv4: {secondaryCount: 1, prefixCount: 1}",
        "EC2 takes one of addresses, secondaryCount and prefixCount",
    ),
    (
        "named-and-counted",
        "ipv4: {addresses: [10.0.0.9], secondaryCount: 1}",
        "EC2 takes one of addresses, secondaryCount and prefixCount",
    ),
    (
        "no-ipv4",
        "ipv4: {addresses: ['fd00::9']}",
        "an address is IPv4, such as 10.0.1.20",
    ),
    (
        "no-address",
        "ipv4: {addresses: [10.0.0.256]}",
        "an address is IPv4, such as 10.0.1.20",
    ),
    (
        "twice",
        "ipv4: {addresses: [10.0.0.9, 10.0.0.9]}",
        "duplicate entries",
    ),
    (
        "too-many",
        "ipv4: {secondaryCount: 50}",
        "should be less than or equal to 49",
    ),
    (
        "pool-and-subnet",
        "no securityGroupNames\npoolRef: {name: web}",
        "the pool's members say the subnets",
    ),
    (
        "pool-and-group",
        "no subnetName\npoolRef: {name: web}",
        "the pool says what its members are",
    ),
    (
        "pool-and-addresses",
        "no subnetName\nno securityGroupNames\npoolRef: {name: web}\nipv4: {secondaryCount: 1}",
        "a member of a pool keeps its addresses",
    ),
    (
        "pool-and-elastic-ip",
        "no subnetName\nno securityGroupNames\npoolRef: {name: web}\nelasticIP: {tags: {tier: edge}}",
        "a member of a pool keeps its addresses: drop ipv4, ipv6 and elasticIP",
    ),
    (
        "elastic-ip-of-nothing",
        "elasticIP: {}",
        "name the Elastic IPs either by allocationIDs or by tags",
    ),
    (
        "elastic-ip-twice",
        "elasticIP: {allocationIDs: [eipalloc-00000001], tags: {tier: edge}}",
        "name the Elastic IPs either by allocationIDs or by tags",
    ),
    (
        "elastic-ip-id",
        "elasticIP: {allocationIDs: [203.0.113.1]}",
        "spec.elasticIP.allocationIDs[0] in body should match",
    ),
    (
        "pool-and-end",
        "no subnetName\nno securityGroupNames\npoolRef: {name: web}\ndeleteOnTermination: true",
        "a member of a pool outlives its node",
    ),
    (
        "aws-tag",
        "tags: {'aws:owner': me}",
        "starts with neither aws: nor eniway.io/",
    ),
    (
        "our-tag",
        "tags: {eniway.io/role: pool}",
        "starts with neither aws: nor eniway.io/",
    ),
];

/// The same of an ENIPool.
const REFUSED_POOLS: &[(&str, &str, &str)] = &[
    ("neither", "{}", "say which interfaces"),
    ("empty", "{members: []}", "say which interfaces"),
    (
        "both",
        "{selector: {tags: {a: b}}, members: [{subnetID: subnet-12345678, address: 10.0.0.5}]}",
        "say which interfaces",
    ),
    (
        "everything",
        "{selector: {tags: {}}}",
        "an empty selector would match everything",
    ),
    (
        "no-group",
        "{members: [{subnetID: subnet-12345678, address: 10.0.0.5}]}",
        "members need securityGroupIDs or securityGroupNames",
    ),
    (
        "group-of-others",
        "{selector: {tags: {a: b}}, securityGroupNames: [multus]}",
        "what a selector finds keeps its own",
    ),
    (
        "delete-of-others",
        "{selector: {tags: {a: b}}, deletionPolicy: Delete}",
        "eniway never deletes interfaces that it did not make",
    ),
    (
        "twice",
        "{members: [{subnetID: subnet-12345678, address: 10.0.0.5}, \
         {subnetID: subnet-12345678, address: 10.0.0.5}], securityGroupNames: [multus]}",
        "duplicate entries for key",
    ),
    (
        "no-address",
        "{members: [{subnetID: subnet-12345678, address: 10.0.0.256}], securityGroupNames: [multus]}",
        "address in body should match",
    ),
];

const ACCEPTED: &[(&str, &str)] = &[
    ("mtu-zero", "mtu: 0"),
    ("mtu-jumbo", "mtu: 9216"),
    ("bare-off", "dataPath: {xdp: Off, enforcement: Off}"),
    ("quoted-off", "dataPath: {xdp: 'Off', enforcement: 'Off'}"),
    (
        "native-at-any-price",
        "dataPath: {xdp: Native, mtuPolicy: Lower, channelPolicy: Reduce}",
    ),
    (
        "steered",
        "dataPath: {steering: [{match: {source: 2001:db8::/32, protocol: TCP, destinationPorts: [80, 8000-8999]}, action: {type: Cpu, cpus: [1, 2]}}, {action: {type: Socket, queues: [0]}}]}",
    ),
    ("dpdk", "enableDPDK: true\ndpdkDriver: vfio-pci"),
    ("short-id", "subnetID: subnet-12345678"),
    ("fixed", "ipv4: {addresses: [10.0.0.9, 10.0.0.10]}"),
    (
        "counted",
        "ipv4: {secondaryCount: 3, prefixCount: 0}\nipv6: {addressCount: 1, prefixCount: 1}",
    ),
    ("nothing-of-ours", "ipv4: {}\nipv6: {}"),
    ("retain", "deletionPolicy: Retain"),
    (
        "from-a-pool",
        "no subnetName\nno securityGroupNames\npoolRef: {name: web}",
    ),
    ("a-third", "updatePolicy: {maxUnavailable: 33%}"),
    ("three", "updatePolicy: {maxUnavailable: 3}"),
    (
        "expressions",
        "no nodeSelector\nnodeSelectorExpressions: [{key: tier, operator: Exists}]",
    ),
    (
        "by-tags",
        "no subnetName\nno securityGroupNames\nsubnetSelector: {tags: {tier: data}}\n\
         securityGroupSelector: {tags: {tier: data}}",
    ),
];

#[test]
fn a_manifest_that_is_wrong_by_itself_is_refused_with_the_reason() {
    let lab = lab_with_crds();
    for (name, spec, reason) in REFUSED {
        let error = apply(&lab, &manifest(name, spec)).expect_err(name);
        assert!(
            error.contains(reason),
            "{name}: expected `{reason}` in: {error}"
        );
    }
    for (name, spec) in ACCEPTED {
        apply(&lab, &manifest(name, spec)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/manifests")).unwrap() {
        let path = file.unwrap().path();
        apply(&lab, &fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    a_records_identity_never_changes(&lab);
    pools_say_which_interfaces_they_are(&lab);
}

fn pools_say_which_interfaces_they_are(lab: &Lab) {
    let pool = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.k8s.aws/v1alpha1\nkind: ENIPool\nmetadata: {{name: {name}}}\n\
             spec: {spec}\n"
        )
    };
    for (name, spec, reason) in REFUSED_POOLS {
        let error = apply(lab, &pool(name, spec)).expect_err(name);
        assert!(
            error.contains(reason),
            "{name}: expected `{reason}` in: {error}"
        );
    }
    let made =
        "{members: [{subnetID: subnet-12345678, address: 10.0.0.5}], securityGroupNames: [m]}";
    apply(lab, &pool("web", "{selector: {tags: {a: b}}}")).unwrap();
    apply(lab, &pool("made", made)).unwrap();
    let error = apply(lab, &pool("web", made)).unwrap_err();
    let reason = "never take each other's place";
    assert!(error.contains(reason), "expected `{reason}` in: {error}");
}

fn a_records_identity_never_changes(lab: &Lab) {
    let record = |node: &str, mtu: u32| {
        format!(
            "apiVersion: networking.k8s.aws/v1alpha1\nkind: NodeENIAttachment\nmetadata: {{name: r}}\nspec:\n  \
             {{nodeName: {node}, instanceID: i-12345678, nodeENI: {{name: a, uid: b}}, subnetID: subnet-12345678,\n   \
             securityGroupIDs: [], deleteOnTermination: true, sourceDestCheck: true, mtu: {mtu}}}\n"
        )
    };
    apply(lab, &record("node1", 1500)).unwrap();
    apply(lab, &record("node1", 9001)).unwrap();
    let error = apply(lab, &record("node2", 9001)).unwrap_err();
    assert!(error.contains("never change"), "{error}");
}

fn lab_with_crds() -> Lab {
    let lab = Lab::start(Config::control_plane_only(), &|line| eprintln!("{line}")).unwrap();
    lab.apply(&eniway_api::crds::yaml().unwrap()).unwrap();
    established(&lab, "nodeenis.networking.k8s.aws");
    established(&lab, "nodeeniattachments.networking.k8s.aws");
    established(&lab, "enipools.networking.k8s.aws");
    lab
}
