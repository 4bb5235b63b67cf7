//! Decides when EC2 is asked again about something that changes by itself.
//!
//! Pure: time is an argument.

use std::time::{Duration, Instant};

/// EC2 needs about this long to attach or detach.
const FIRST: Duration = Duration::from_millis(500);
/// Above this, the whole read of each minute does as well.
const SLOWEST: Duration = Duration::from_secs(60);

/// How often in a row a thing was looked at without effect, and when the next look is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    looks: u32,
    next: Option<Instant>,
}

impl Pace {
    /// Something of ours was done at `now`; its effect is looked for soon.
    #[must_use]
    pub fn after(now: Instant) -> Self {
        Self {
            looks: 0,
            next: Some(now + FIRST),
        }
    }

    /// A look went out; the next one is due later each time.
    pub fn looked(&mut self, now: Instant) {
        let pause = FIRST.saturating_mul(1 << self.looks.min(8)).min(SLOWEST);
        self.looks += 1;
        self.next = Some(now + pause);
    }

    /// How long to wait for the next look; `None`: it is due.
    #[must_use]
    pub fn waits(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|at| *at > now)
    }

    /// Whether the looks have become so rare that the whole reads do as well.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        FIRST.saturating_mul(1 << self.looks.min(8)) > SLOWEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_goes_at_once_and_each_next_one_later_until_the_whole_read_does() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut now = start;
        let mut seconds = Vec::new();
        while !pace.is_spent() {
            now = pace.waits(now).unwrap_or(now);
            seconds.push((now - start).as_secs_f64());
            pace.looked(now);
        }
        assert_eq!(seconds, [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]);
    }
}
