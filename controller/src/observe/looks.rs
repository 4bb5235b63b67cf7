//! Looks that wait for each other, so that many share one read.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::action::Look;

/// Reads one after the other that need not be spaced: enough for what one node asks for.
const AT_ONCE: u32 = 10;

/// Requests that wait for the next shared read.
pub(crate) struct Looks {
    wanted: Mutex<BTreeSet<Look>>,
    changed: Notify,
    /// When `AT_ONCE` reads may follow each other again.
    rested: Mutex<Option<Instant>>,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self {
            wanted: Mutex::default(),
            changed: Notify::new(),
            rested: Mutex::default(),
        }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<Look>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, look: Look) {
        if self.wanted().insert(look) {
            self.changed.notify_one();
        }
    }

    /// The requests, once none came for `idle` (at most ten times that after the first). A fleet asks
    /// without an end: its reads are `spacing` apart, so that they cost by the hour and not by the interface.
    pub(super) async fn gather(&self, idle: Duration, spacing: Duration) -> BTreeSet<Look> {
        while self.wanted().is_empty() {
            self.changed.notified().await;
        }
        tokio::time::sleep_until(self.turn(Instant::now(), spacing)).await;
        let latest = Instant::now() + idle * 10;
        loop {
            let quiet = Instant::now() + idle;
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(quiet.min(latest)) => break,
                () = self.changed.notified() => {}
            }
        }
        std::mem::take(&mut *self.wanted())
    }

    /// When the next read may begin; it is counted as begun.
    fn turn(&self, now: Instant, spacing: Duration) -> Instant {
        let mut rested = self.rested.lock().unwrap_or_else(PoisonError::into_inner);
        let rests_until = rested.map_or(now, |at| at.max(now)) + spacing;
        *rested = Some(rests_until);
        let turn = rests_until.checked_sub(spacing * AT_ONCE);
        turn.map_or(now, |turn| turn.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_reads_follow_each_other_at_once_and_many_are_spaced() {
        let (looks, start) = (Looks::new(), Instant::now());
        let spacing = Duration::from_secs(2);
        for _ in 0..AT_ONCE {
            assert_eq!(looks.turn(start, spacing), start);
        }
        for number in 1..=3 {
            assert_eq!(looks.turn(start, spacing), start + spacing * number);
        }
        let later = start + spacing * (AT_ONCE + 3);
        for _ in 0..AT_ONCE {
            assert_eq!(looks.turn(later, spacing), later);
        }
        assert_eq!(looks.turn(later, spacing), later + spacing);
    }
}
