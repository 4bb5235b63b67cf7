//! When to look again although nothing has changed.

use std::time::{Duration, Instant};

/// The earliest of the times at which somebody wants to look again.
#[derive(Default)]
pub(super) struct Alarm(Option<Instant>);

impl Alarm {
    pub(super) fn at(&mut self, time: Instant) {
        self.0 = Some(self.0.map_or(time, |earlier| earlier.min(time)));
    }

    pub(super) async fn ring(&self) {
        match self.0 {
            Some(time) => tokio::time::sleep_until(time.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// 1, 2, 4, … seconds, at most a minute.
pub(super) fn backoff(attempts: u32) -> Duration {
    Duration::from_secs(60.min(1 << attempts.saturating_sub(1).min(6)))
}
