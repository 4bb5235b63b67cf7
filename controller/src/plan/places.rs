//! Decides at which device index an interface goes, and whether the instance holds one more.

use eniway_api::{DeviceIndex, NodeEniAttachment, conditions::reason};
use eniway_ec2::{Instance, InstanceType, Occupied};

use super::{Note, Planner};
use crate::action::{Action, Look};

/// A place on an instance. Device indexes are counted on each network card anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) card: u8,
    pub(super) index: u8,
}

impl From<&Occupied> for Slot {
    fn from(place: &Occupied) -> Self {
        Self {
            card: place.network_card_index,
            index: place.device_index,
        }
    }
}

impl Planner<'_> {
    /// A free place, which is then taken; or why there is none.
    pub(super) fn place(
        &mut self,
        record: &NodeEniAttachment,
        instance: &Instance,
    ) -> Result<Slot, Note> {
        let name = &instance.instance_type;
        if !self.observed.snapshot.types.contains_key(name) {
            self.push(Action::Look(Look::InstanceType(name.clone())));
        }
        let Some(limits) = self.observed.snapshot.limits(name) else {
            return Err(Note {
                reason: reason::PROGRESSING,
                message: format!("asking EC2 how many interfaces a {name} holds"),
            });
        };
        let taken = self.taken.entry(instance.id.to_string()).or_default();
        let occupied = instance.interfaces.iter().map(Slot::from);
        let occupied: Vec<_> = occupied.chain(taken.iter().copied()).collect();
        let slot = free(record, instance, limits, &occupied)?;
        taken.insert(slot);
        Ok(slot)
    }
}

/// The first free index of the record's card, from the one that it wants.
fn free(
    record: &NodeEniAttachment,
    instance: &Instance,
    limits: &InstanceType,
    occupied: &[Slot],
) -> Result<Slot, Note> {
    let card = record.spec.network_card_index;
    let full = |message| Note {
        reason: reason::INSTANCE_LIMIT_REACHED,
        message,
    };
    let Some(most) = limits.cards.get(usize::from(card)).copied() else {
        return Err(Note {
            reason: reason::INVALID_REQUEST,
            message: format!(
                "{} is a {}, which has {} network cards: networkCardIndex {card} is beyond them",
                instance.id,
                limits.name,
                limits.cards.len()
            ),
        });
    };
    if occupied.len() >= usize::from(limits.interfaces) {
        return Err(full(format!(
            "{} is a {}, which holds {} interfaces, and has them all; free one or use a larger type",
            instance.id, limits.name, limits.interfaces
        )));
    }
    let on_card = || occupied.iter().filter(|slot| slot.card == card);
    if on_card().count() >= usize::from(most) {
        return Err(full(format!(
            "network card {card} of {} (a {}) holds {most} interfaces, and has them all; free one \
             or name another networkCardIndex",
            instance.id, limits.name
        )));
    }
    let first = record.spec.device_index.unwrap_or(DeviceIndex::FIRST).0;
    (first..=DeviceIndex::LAST.0)
        .chain(DeviceIndex::FIRST.0..first)
        .find(|index| on_card().all(|slot| slot.index != *index))
        .map(|index| Slot { card, index })
        .ok_or_else(|| Note {
            reason: reason::NO_FREE_DEVICE_INDEX,
            message: format!(
                "every device index of network card {card} of {} is taken",
                instance.id
            ),
        })
}
