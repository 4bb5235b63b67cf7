//! What every file has: a first sentence, and an end in sight.

use crate::source::{files, none};

/// At 400 lines one asks what the second idea is.
const LONGEST: usize = 500;

#[test]
fn every_file_says_first_what_it_is() {
    let wrong: Vec<String> = files("", "rs")
        .into_iter()
        // The tests of a module are about the module.
        .filter(|file| !file.path.ends_with("/tests.rs"))
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path)
        .collect();
    none("these do not open with `//! ` and a sentence", &wrong);
}

#[test]
fn no_file_is_long() {
    let wrong: Vec<String> = files("", "rs")
        .into_iter()
        .map(|file| (file.text.lines().count(), file.path))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    none("what is the second idea in these?", &wrong);
}

#[test]
fn no_test_is_left_out() {
    let mut wrong = Vec::new();
    let ignore = concat!("#[", "ignore");
    for file in files("", "rs") {
        let ignored = file.code().filter(|(_, line)| line.starts_with(ignore));
        wrong.extend(ignored.map(|(number, _)| format!("{}:{number}", file.path)));
    }
    none("a test runs or is not there", &wrong);
}
