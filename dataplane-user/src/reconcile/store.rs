//! The records of this node, as the watch tells them.

use std::collections::{BTreeMap, BTreeSet};

use eniway_api::{EniId, InstanceId, MacAddress};

use super::memory::Memory;
use crate::{
    desired::{Record, Wish, wish},
    kubernetes::Change,
};

/// The records, and what is remembered of each by its UID.
#[derive(Default)]
pub(super) struct Store {
    pub(super) records: BTreeMap<String, Record>,
    pub(super) memories: BTreeMap<String, Memory>,
    /// Whether all records have been seen.
    pub(super) synced: bool,
}

impl Store {
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Replaced(records) => {
                let named = records.into_iter().map(|record| (record.name(), record));
                self.records = named.collect();
                self.synced = true;
            }
            Change::Applied(record) => {
                self.records.insert(record.name(), record);
            }
            Change::Deleted(name) => {
                self.records.remove(&name);
            }
        }
        let live: BTreeSet<String> = self.records.values().map(Record::uid).collect();
        self.memories.retain(|uid, _| live.contains(uid));
    }

    pub(super) fn enis(&self) -> impl Iterator<Item = &EniId> {
        self.records.values().filter_map(Record::eni)
    }

    /// The MAC addresses of the interfaces that are asked for.
    pub(super) fn macs(&self, instance: &InstanceId) -> BTreeSet<MacAddress> {
        let records = self.records.values().filter_map(|record| match record {
            Record::Readable(readable) if !record.is_of_other_instance(instance) => Some(readable),
            Record::Readable(_) | Record::Unreadable(_) => None,
        });
        let wishes = records.map(|record| wish(record));
        let provided = wishes.filter(|wish| matches!(wish, Wish::Provide(_)));
        provided.filter_map(|wish| wish.mac()).collect()
    }

    /// The ENIs whose interfaces are here, and the interfaces' names.
    pub(super) fn interfaces(&self) -> Vec<(String, String)> {
        let here = self.records.values().filter_map(|record| {
            let name = self.memories.get(&record.uid())?.interface.clone()?;
            Some((record.eni()?.to_string(), name))
        });
        here.collect()
    }

    /// The tables of routes that records use. `None` while one cannot be read, which may use any.
    pub(super) fn tables(&self) -> Option<Vec<u32>> {
        let mut tables = Vec::new();
        for record in self.records.values() {
            match record {
                Record::Readable(record) => {
                    tables.extend(wish(record).network().and_then(|network| network.table));
                }
                Record::Unreadable(_) => return None,
            }
        }
        Some(tables)
    }

    pub(super) fn knows_every_eni(&self) -> bool {
        let unreadable = |record: &Record| matches!(record, Record::Unreadable(_));
        !self
            .records
            .values()
            .any(|record| unreadable(record) && record.eni().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Unreadable;

    #[test]
    fn a_record_that_cannot_be_read_may_use_any_table() {
        let mut store = Store::default();
        assert_eq!(store.tables(), Some(Vec::new()));
        let unreadable = Unreadable {
            name: "newer".to_owned(),
            uid: "1".to_owned(),
            generation: None,
            eni: Some("eni-1".into()),
            status: None,
            release: None,
            error: "unknown".to_owned(),
        };
        store.change(Change::Applied(Record::Unreadable(Box::new(unreadable))));
        assert!(store.knows_every_eni());
        assert_eq!(store.tables(), None);
    }
}
