//! Which module talks to what is outside, and which may not talk to anybody.

use crate::source::{File, files, none, root};

/// Below these folders, code may contain the word only in files whose path starts with one of these.
struct Door {
    folders: &'static [&'static str],
    words: &'static [&'static str],
    open: &'static [&'static str],
}

const DOORS: &[Door] = &[
    Door {
        folders: &["controller", "dataplane-user/src"],
        words: &["aws_sdk_", "aws_config"],
        open: &["controller/ec2/src/aws", "controller/ec2/tests/wire"],
    },
    Door {
        folders: &["controller", "dataplane-user/src"],
        words: &["Api::all", "Api::namespaced", "Api::default_namespaced"],
        open: &["controller/src/kubernetes", "dataplane-user/src/kubernetes"],
    },
    Door {
        folders: &["controller"],
        words: &["opentelemetry"],
        open: &["controller/src/telemetry/"],
    },
    Door {
        folders: &["dataplane-user/src"],
        words: &["rtnetlink::", "use rtnetlink"],
        open: &["dataplane-user/src/netlink"],
    },
    Door {
        folders: &["dataplane-user/src"],
        words: &["aya::", "aya_log::", "use aya"],
        open: &["dataplane-user/src/bpf"],
    },
    Door {
        folders: &["dataplane-user/src"],
        words: &["driver_override\"", "drivers_probe"],
        open: &["dataplane-user/src/pci"],
    },
    Door {
        folders: &["controller/src", "controller/api/src", "dataplane-user/src"],
        words: &["env::var", "env::args"],
        open: &["controller/src/config.rs", "dataplane-user/src/config.rs"],
    },
];

/// Modules that decide. Time is an argument, and so is everything they know.
const PURE: &[&str] = &[
    "controller/src/desired",
    "controller/src/gc",
    "controller/src/plan",
    "controller/src/pool",
    "controller/src/status",
    "controller/ec2/src/throttle",
    "controller/ec2/src/snapshot",
    "dataplane-ebpf/src/packet",
    "dataplane-ebpf/src/guard",
    "dataplane-user/src/desired",
    "dataplane-user/src/plan",
    "dataplane-user/src/status",
];

const IMPURE: &[&str] = &[
    "async fn",
    "async move",
    ".await",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "kube::Client",
    "std::fs",
    "std::net::Tcp",
];

fn is_below(file: &File, module: &str) -> bool {
    let rest = file.path.strip_prefix(module);
    rest.is_some_and(|rest| rest.starts_with('/') || rest.starts_with('.'))
}

#[test]
fn each_library_is_reached_through_its_door() {
    let mut wrong = Vec::new();
    for Door {
        folders,
        words,
        open,
    } in DOORS
    {
        for file in folders.iter().flat_map(|folder| files(folder, "rs")) {
            if open.iter().any(|door| file.path.starts_with(door)) {
                continue;
            }
            for (number, line) in file.shipped() {
                if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                    wrong.push(format!(
                        "{}:{number} says {word}; only {open:?} may",
                        file.path
                    ));
                }
            }
        }
    }
    none("these go around a door", &wrong);
}

#[test]
fn what_decides_is_pure() {
    let mut wrong = Vec::new();
    for folder in ["controller", "dataplane-ebpf", "dataplane-user"] {
        for file in files(folder, "rs") {
            if !PURE.iter().any(|module| is_below(&file, module)) {
                continue;
            }
            for (number, line) in file.shipped() {
                if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                    wrong.push(format!("{}:{number} says {word}", file.path));
                }
            }
        }
    }
    none(
        "these modules decide: no clock, no client, no async",
        &wrong,
    );
}

#[test]
fn every_deciding_module_is_there() {
    let gone: Vec<String> = PURE
        .iter()
        .filter(|module| !root().join(format!("{module}.rs")).is_file())
        .map(ToString::to_string)
        .collect();
    none("rename these in PURE, too", &gone);
}
