//! What the chart may never say.

use crate::source::{files, none};

#[test]
fn no_right_is_for_everything() {
    let mut wrong = Vec::new();
    for file in files("charts/eniway/templates", "yaml") {
        for (number, line) in (1..).zip(file.text.lines()) {
            if ["\"*\"", "'*'", "[*]"]
                .iter()
                .any(|wildcard| line.contains(wildcard))
            {
                wrong.push(format!("{}:{number} {}", file.path, line.trim()));
            }
        }
    }
    none("name the resources and the verbs", &wrong);
}

#[test]
fn nothing_is_privileged() {
    let mut wrong = Vec::new();
    for file in files("charts/eniway/templates", "yaml") {
        for word in [
            "privileged: true",
            "hostPID: true",
            "hostIPC: true",
            "SYS_ADMIN",
        ] {
            if file.text.contains(word) {
                wrong.push(format!("{} says {word}", file.path));
            }
        }
    }
    none("no pod needs to be privileged", &wrong);
}
