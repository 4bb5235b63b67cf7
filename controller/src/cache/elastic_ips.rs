//! Elastic IPs that are chosen for records and not written down yet.

use std::{collections::BTreeSet, sync::Arc};

use eniway_api::NodeEniAttachment;
use eniway_ec2::Snapshot;

use super::Cache;
use crate::elastic_ips::{Choices, choose, claimed, waits};

impl Cache {
    /// What the records of a node get. Others keep what was chosen for them; what was chosen for this
    /// node before is chosen anew.
    pub(crate) fn choose_elastic_ips(
        &mut self,
        node: &str,
        records: &[Arc<NodeEniAttachment>],
        snapshot: &Snapshot,
    ) -> Choices {
        let objects = &self.records;
        self.elastic_ips.retain(|record, (of, _)| {
            of != node && objects.get(record).is_some_and(|record| waits(record))
        });
        let Some(known) = &snapshot.elastic_ips.known else {
            return Choices::new();
        };
        if !records.iter().any(|record| waits(record)) {
            return Choices::new();
        }
        let written = self.records.values().filter_map(|record| claimed(record));
        let written = written.map(|claim| claim.allocation_id.clone());
        let promised = self.elastic_ips.values().map(|(_, id)| id.clone());
        let taken: BTreeSet<_> = written.chain(promised).collect();
        let choices = choose(records, &taken, known);
        for (record, id) in &choices {
            let promise = (node.to_owned(), id.clone());
            self.elastic_ips.insert(record.clone(), promise);
        }
        choices
    }
}
