//! Remembers what events said of instances, until EC2's reads, which lag behind, say so too.
//!
//! Pure: time is an argument.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use eniway_api::InstanceId;
use eniway_ec2::{InstanceState, Snapshot};

/// After this the whole read of each minute has had its turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// States that were said and not seen.
#[derive(Clone, Debug, Default)]
pub struct Expected(BTreeMap<InstanceId, (InstanceState, Instant)>);

impl Expected {
    /// An event said so. Whether it is news: no read and no event said the same, or what comes later.
    pub fn heard(
        &mut self,
        id: &InstanceId,
        state: InstanceState,
        snapshot: &Snapshot,
        now: Instant,
    ) -> bool {
        self.0.retain(|_, (_, until)| now < *until);
        let said = self.0.get(id).map(|(state, _)| *state);
        if seen(id, state, snapshot) || said.is_some_and(|said| follows(said, state)) {
            return false;
        }
        self.0.insert(id.clone(), (state, now + PATIENCE));
        true
    }

    /// Those of the instances that EC2 is to be asked for.
    pub fn unsettled(
        &mut self,
        ids: &[&InstanceId],
        snapshot: &Snapshot,
        now: Instant,
    ) -> Vec<InstanceId> {
        let mut unsettled = Vec::new();
        for &id in ids {
            let Some((state, until)) = self.0.get(id) else {
                continue;
            };
            if now >= *until || seen(id, *state, snapshot) {
                self.0.remove(id);
            } else {
                unsettled.push(id.clone());
            }
        }
        unsettled
    }
}

/// Whether EC2 shows the instance in this state, or in one that can only come after it.
fn seen(id: &InstanceId, state: InstanceState, snapshot: &Snapshot) -> bool {
    match snapshot.instance(id) {
        Some(instance) => follows(instance.state, state),
        None => state.is_gone() && snapshot.is_missing(id),
    }
}

/// Whether `later` is `earlier`, or the end that never leads back to it.
fn follows(later: InstanceState, earlier: InstanceState) -> bool {
    later == earlier || later == InstanceState::Terminated || later.is_gone() && !earlier.is_gone()
}
