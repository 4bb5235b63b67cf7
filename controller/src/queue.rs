//! Which node, or NodeENI, is due; one key never runs twice at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

/// Keys with the time at which they are due.
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    due: BTreeMap<K, Instant>,
    running: BTreeSet<K>,
}

impl<K: Ord + Clone> Queue<K> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                due: BTreeMap::new(),
                running: BTreeSet::new(),
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `key` due at `at`, or earlier if it was.
    pub(crate) fn add(&self, key: K, at: Instant) {
        let mut state = self.state();
        let due = state.due.entry(key).or_insert(at);
        *due = at.min(*due);
        drop(state);
        self.changed.notify_one();
    }

    /// The next key that is due and not running. Give it back to [`Queue::done`].
    ///
    /// Cancel-safe: a key leaves the queue only when it is returned.
    pub(crate) async fn next(&self) -> K {
        loop {
            let soonest = {
                let now = tokio::time::Instant::now().into_std();
                let mut state = self.state();
                let State { due, running } = &mut *state;
                let soonest = due
                    .iter()
                    .filter(|(key, _)| !running.contains(*key))
                    .min_by_key(|(_, at)| **at)
                    .map(|(key, at)| (key.clone(), *at));
                match soonest {
                    Some((key, at)) if at <= now => {
                        due.remove(&key);
                        running.insert(key.clone());
                        return key;
                    }
                    soonest => soonest.map(|(_, at)| at),
                }
            };
            match soonest {
                None => self.changed.notified().await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = self.changed.notified() => {}
                    }
                }
            }
        }
    }

    /// The key may run again, at the latest at `again`.
    pub(crate) fn done(&self, key: K, again: Option<Instant>) {
        let mut state = self.state();
        state.running.remove(&key);
        if let Some(at) = again {
            let due = state.due.entry(key).or_insert(at);
            *due = at.min(*due);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) fn len(&self) -> usize {
        self.state().due.len()
    }
}
