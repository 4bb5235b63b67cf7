//! Waits for a condition, with a deadline and a message that says what was seen instead.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// The time between two looks at something that cannot tell us that it changed.
const LOOK: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value; its `Err` says what was seen instead.
///
/// # Errors
///
/// After `deadline`: [`Error::Timeout`] with `what` and the last thing seen.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(detail) if start.elapsed() > deadline => {
                return Err(Error::Timeout {
                    what: what.to_owned(),
                    waited: deadline,
                    detail,
                });
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}
