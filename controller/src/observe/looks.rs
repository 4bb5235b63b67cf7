//! Looks that wait for each other, so that many share one read.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::action::Look;

/// Requests that wait for the next shared read.
pub(crate) struct Looks {
    wanted: Mutex<BTreeSet<Look>>,
    changed: Notify,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self {
            wanted: Mutex::default(),
            changed: Notify::new(),
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

    /// The requests, once none came for `idle` (at most ten times that after the first).
    pub(super) async fn gather(&self, idle: Duration) -> BTreeSet<Look> {
        while self.wanted().is_empty() {
            self.changed.notified().await;
        }
        let latest = tokio::time::Instant::now() + idle * 10;
        loop {
            let quiet = tokio::time::Instant::now() + idle;
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(quiet.min(latest)) => break,
                () = self.changed.notified() => {}
            }
        }
        std::mem::take(&mut *self.wanted())
    }
}
