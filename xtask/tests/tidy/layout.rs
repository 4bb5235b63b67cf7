//! Maps outlive the agent that made them: a change of their layout must change `LAYOUT_VERSION`.

use sha2::{Digest as _, Sha256};

use crate::source::files;

/// The version, and the code of eniway-abi that goes with it.
const LAYOUT: (&str, &str) = ("2", "da629d73100d4c35");

#[test]
fn a_change_of_the_layout_changes_its_version() {
    let files = files("dataplane-ebpf/abi/src", "rs");
    let mut hash = Sha256::new();
    let mut version = None;
    for (_, line) in files.iter().flat_map(crate::source::File::code) {
        if let Some(value) = line.strip_prefix("pub const LAYOUT_VERSION: u32 = ") {
            version = Some(value.trim_end_matches(';').to_owned());
        } else {
            hash.update(line);
        }
    }
    let hash: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let version = version.expect("eniway-abi has a LAYOUT_VERSION");
    assert_eq!(
        (version.as_str(), hash.as_str()),
        LAYOUT,
        "eniway-abi has changed. If a released agent could meet maps of the new layout, raise \
         LAYOUT_VERSION. Then write the left pair into LAYOUT.",
    );
}
