//! The one clock of a simulated world: tokio's, which jumps to whatever is due next.

use std::cell::Cell;

use jiff::Timestamp;
use tokio::time::Instant;

use simulation::small_cloud::epoch;

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The world of this thread begins now.
pub(crate) fn begin() {
    BEGUN.set(Some(Instant::now()));
}

/// The time that people in this thread's world read.
pub(crate) fn wall() -> Timestamp {
    let begun = BEGUN.get().expect("the world of this thread has begun");
    epoch() + begun.elapsed()
}
