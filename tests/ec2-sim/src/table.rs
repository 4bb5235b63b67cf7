//! Rows as they are, and as a reader sees them some time later.
//!
//! EC2's reads are eventually consistent: a change is carried out at once, and told by the Describe
//! calls after a while. Every change therefore goes through here and leaves a note in a journal;
//! readers get a copy that has caught up to the moment they may see.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    rows: BTreeMap<K, Arc<V>>,
    seen: BTreeMap<K, Arc<V>>,
    journal: VecDeque<(Timestamp, K, Option<Arc<V>>)>,
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            seen: BTreeMap::new(),
            journal: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(Arc::as_ref)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.values().map(Arc::as_ref)
    }

    pub(crate) fn insert(&mut self, now: Timestamp, key: K, row: V) {
        let row = Arc::new(row);
        self.journal
            .push_back((now, key.clone(), Some(Arc::clone(&row))));
        self.rows.insert(key, row);
    }

    pub(crate) fn remove(&mut self, now: Timestamp, key: &K) -> Option<Arc<V>> {
        let row = self.rows.remove(key)?;
        self.journal.push_back((now, key.clone(), None));
        Some(row)
    }

    /// Changes a row, if it is there.
    pub(crate) fn change<T>(
        &mut self,
        now: Timestamp,
        key: &K,
        change: impl FnOnce(&mut V) -> T,
    ) -> Option<T> {
        let row = self.rows.get_mut(key)?;
        let result = change(Arc::make_mut(row));
        self.journal
            .push_back((now, key.clone(), Some(Arc::clone(row))));
        Some(result)
    }

    /// The rows as readers see them.
    pub(crate) fn seen(&self) -> &BTreeMap<K, Arc<V>> {
        &self.seen
    }

    /// Lets readers see everything up to `then`; what they have seen they do not forget.
    pub(crate) fn catch_up(&mut self, then: Timestamp) {
        while self.journal.front().is_some_and(|(at, _, _)| *at <= then) {
            let Some((_, key, row)) = self.journal.pop_front() else {
                break;
            };
            match row {
                Some(row) => self.seen.insert(key, row),
                None => self.seen.remove(&key),
            };
        }
    }
}
