//! Where things are kept from one lab to the next; xtask keeps its own things in the same folder.

use std::env;
use std::path::PathBuf;

/// `eniway` below `XDG_CACHE_HOME`, or below `~/.cache`.
pub(crate) fn folder() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(|| "/var/cache".into())
        .join("eniway")
}
