//! The one clock of a simulated world: tokio's, which jumps to whatever is due next.

use std::cell::Cell;

use jiff::Timestamp;
use tokio::time::Instant;

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// When every world begins.
pub(super) fn epoch() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

/// The world of this thread begins now.
pub(super) fn begin() {
    BEGUN.set(Some(Instant::now()));
}

/// The time that people in this thread's world read.
pub(super) fn wall() -> Timestamp {
    let begun = BEGUN.get().expect("the world of this thread has begun");
    epoch() + begun.elapsed()
}
