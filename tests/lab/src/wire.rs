//! The wire of one ENI: what it sent, what became of it, and frames that no AWS would let through.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::fabric::{PortId, Reason};
use crate::switch::Switch;

/// The fabric's side of an ENI's cable.
#[derive(Clone, Debug)]
pub struct Wire {
    switch: Switch,
    port: PortId,
}

impl Wire {
    pub(crate) fn new(switch: Switch, eni: &str) -> Self {
        Self {
            switch,
            port: PortId(eni.to_owned()),
        }
    }

    /// Whether a cable is plugged in.
    pub fn is_plugged(&self) -> bool {
        self.switch.is_plugged(&self.port)
    }

    /// Puts a frame on the wire towards the ENI as it is, past every check of the fabric.
    pub fn inject(&self, frame: &[u8]) -> Result<(), Error> {
        self.switch.inject(&self.port, frame)
    }

    /// The last frames that the ENI sent, oldest first, whatever became of them.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.switch.sent(&self.port)
    }

    /// How many frames the ENI sent, by what became of them.
    pub fn counters(&self) -> BTreeMap<Reason, u64> {
        self.switch.counters(&self.port)
    }

    /// Waits until the ENI has sent a frame that `wanted` takes.
    ///
    /// # Errors
    ///
    /// After `deadline`, with what was sent instead.
    pub fn expect(
        &self,
        what: &str,
        deadline: Duration,
        wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<Vec<u8>, Error> {
        self.switch
            .wait_for(&self.port, deadline, wanted)
            .ok_or_else(|| Error::Timeout {
                what: format!("{} sends {what}", self.port),
                waited: deadline,
                detail: format!(
                    "it sent {} frames, which ended as {:?}",
                    self.sent().len(),
                    self.counters()
                ),
            })
    }
}
