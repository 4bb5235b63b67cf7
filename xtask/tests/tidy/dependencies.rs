//! Who may depend on whom, by what cargo says.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::source::{none, root};

/// What programs that we ship may need of our own, and nothing else.
const OURS: &[(&str, &[&str])] = &[
    ("eniway-abi", &[]),
    ("eniway-api", &[]),
    ("eniway-ebpf", &["eniway-abi"]),
    ("eniway-ec2", &["eniway-api"]),
    ("eniway-kubelet", &[]),
    (
        "eniway-agent",
        &["eniway-abi", "eniway-api", "eniway-kubelet"],
    ),
    ("eniway-controller", &["eniway-api", "eniway-ec2"]),
    ("xtask", &[]),
];

/// Outside libraries that one crate links, for all.
const DOORS: &[(&str, &[&str])] = &[
    ("aws-config", &["eniway-ec2"]),
    ("aws-sdk-", &["eniway-ec2"]),
    ("aya", &["eniway-abi", "eniway-agent"]),
    ("aya-ebpf", &["eniway-ebpf"]),
    ("aya-log", &["eniway-agent"]),
    ("aya-log-ebpf", &["eniway-ebpf"]),
    ("rtnetlink", &["eniway-agent"]),
    ("tonic", &["eniway-kubelet"]),
];

/// Each of our crates with what it needs when it is not tested.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let all = package["dependencies"].as_array().unwrap().iter();
            let shipped = all.filter(|one| one["kind"].is_null());
            (name(package), shipped.map(name).collect())
        })
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let dependencies = dependencies();
    let mut wrong = Vec::new();
    for (name, allowed) in OURS {
        for needed in &dependencies[*name] {
            if dependencies.contains_key(needed) && !allowed.contains(&needed.as_str()) {
                wrong.push(format!("{name} needs {needed}"));
            }
        }
    }
    none("these dependencies point the wrong way", &wrong);
}

#[test]
fn one_crate_is_the_door_to_an_outside_library() {
    let mut wrong = Vec::new();
    for (name, needs) in dependencies() {
        for (library, allowed) in DOORS {
            let matches = |needed: &String| match library.strip_suffix('-') {
                Some(_) => needed.starts_with(library),
                None => needed == library,
            };
            if needs.iter().any(matches) && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{name} links {library}"));
            }
        }
    }
    none("these libraries have a crate of their own", &wrong);
}
