//! Decides at which device index an interface goes, and whether the instance holds one more.

use eniway_api::{DeviceIndex, NodeEniAttachment, conditions::reason};
use eniway_ec2::Instance;

use super::{Note, Planner};
use crate::action::{Action, Look};

/// eniway attaches to the first network card.
pub(super) const CARD: u8 = 0;

impl Planner<'_> {
    /// A free index, which is then taken; or why there is none.
    pub(super) fn place(
        &mut self,
        record: &NodeEniAttachment,
        instance: &Instance,
    ) -> Result<u8, Note> {
        let Some(limits) = self.observed.snapshot.types.get(&instance.instance_type) else {
            let name = instance.instance_type.clone();
            self.push(Action::Look(Look::InstanceType(name.clone())));
            return Err(Note {
                reason: reason::PROGRESSING,
                message: format!("asking EC2 how many interfaces a {name} holds"),
            });
        };
        let taken = self.taken.entry(instance.id.to_string()).or_default();
        let on_card = instance
            .interfaces
            .iter()
            .filter(|place| place.network_card_index == CARD)
            .count()
            + taken.len();
        let all = instance.interfaces.len() + taken.len();
        let card = limits.cards.first().copied().unwrap_or(limits.interfaces);
        if on_card >= usize::from(card) || all >= usize::from(limits.interfaces) {
            return Err(Note {
                reason: reason::INSTANCE_LIMIT_REACHED,
                message: format!(
                    "{} is a {}, which holds {} interfaces, and has them all; free one or use a \
                     larger type",
                    instance.id, limits.name, limits.interfaces
                ),
            });
        }
        let first = record.spec.device_index.unwrap_or(DeviceIndex::FIRST).0;
        let free = (first..=DeviceIndex::LAST.0)
            .chain(DeviceIndex::FIRST.0..first)
            .find(|index| {
                !taken.contains(&(CARD, *index))
                    && !instance.interfaces.iter().any(|place| {
                        place.network_card_index == CARD && place.device_index == *index
                    })
            });
        let index = free.ok_or_else(|| Note {
            reason: reason::NO_FREE_DEVICE_INDEX,
            message: format!("every device index of {} is taken", instance.id),
        })?;
        taken.insert((CARD, index));
        Ok(index)
    }
}
