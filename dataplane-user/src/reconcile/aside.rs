//! What is heard beside the records, and what is told beside their statuses.

use std::time::Instant;

use eniway_api::{EniId, NodeEniAttachment, NodeStatus};
use tracing::{debug, warn};

use super::{Agent, alarm::Alarm, memory::Memory};
use crate::{
    apply::Chain,
    desired::{Record, Wish, metadata, wish},
};

impl Agent {
    /// What a record asks for, by what the metadata says of it, too.
    pub(super) fn wish(
        &self,
        record: &NodeEniAttachment,
        memory: &mut Memory,
        alarm: &mut Alarm,
    ) -> Wish {
        let mut wish = wish(record);
        let Wish::Provide(desired) = &mut wish else {
            return wish;
        };
        let told = self.metadata.of(desired.mac);
        if let Some(told) = &told {
            metadata::admit(desired, told);
        }
        let difference = told.and_then(|told| metadata::difference(record, &told));
        memory.differs(difference, Instant::now(), alarm);
        wish
    }

    /// What cannot be written is written at the next look.
    pub(super) fn tell_applications(&self, record: &Record, status: &NodeStatus) {
        let Some(states) = &self.states else { return };
        if let Err(error) = states.write(record, status) {
            warn!(error = %Chain(&error), "State not written");
        }
    }

    /// Removes the states of ENIs that no record knows.
    pub(super) fn remove_states(&self, recorded: &[EniId]) {
        let Some(states) = &self.states else { return };
        let known = states.known().into_iter().map(|(eni, _)| eni);
        for eni in known.filter(|eni| !recorded.contains(eni)) {
            if let Err(error) = states.remove(&eni) {
                debug!(error = %Chain(&error), "Orphan kept");
            }
        }
    }
}
