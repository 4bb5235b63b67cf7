//! A few letters that tell long names apart.

use sha2::{Digest as _, Sha256};

/// Ten hexadecimal digits that depend on every part and on where it ends.
pub(crate) fn short<const N: usize>(parts: [&str; N]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize()[..5]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
