//! What must be true of EC2 in the end.

use std::collections::BTreeSet;

use eniway_api::{Ec2State, mark};

use super::Model;

impl Model {
    /// Our interfaces: record's UID and where it is attached.
    pub(in crate::planner) fn ours(&self) -> BTreeSet<(String, Option<(String, u32)>)> {
        let world = self.door.world();
        world
            .interfaces()
            .filter_map(|eni| {
                let record = eni.tags.get(mark::TAG_ATTACHMENT)?.clone();
                let place = eni.attachment.as_ref();
                Some((
                    record,
                    place.map(|a| (a.instance.to_string(), a.slot.index)),
                ))
            })
            .collect()
    }

    /// Every wish has one interface, attached and reported, on its instance; and there is no other.
    pub(in crate::planner) fn check_wishes(&self) {
        let mut wished = 0;
        for node in self.nodes() {
            for wish in self.desired(&node).0.wishes {
                let record = self
                    .records
                    .get(&wish.record)
                    .expect("every wish has a record");
                let ec2 = record.status.as_ref().and_then(|s| s.ec2.as_ref()).unwrap();
                if ec2.state != Ec2State::Attached {
                    // Only for want of places: m5.4xlarge holds eight.
                    let reason = &record.status.as_ref().unwrap().conditions[0].reason;
                    assert_eq!(reason, "InstanceLimitReached");
                    continue;
                }
                wished += 1;
                let id = ec2.eni_id.as_ref().unwrap();
                let world = self.door.world();
                let eni = world
                    .interfaces()
                    .find(|eni| eni.id.as_str() == id.as_str())
                    .unwrap();
                let attachment = eni.attachment.as_ref().unwrap();
                assert_eq!(
                    attachment.instance.as_str(),
                    record.spec.instance_id.as_str()
                );
                assert_eq!(
                    attachment.delete_on_termination,
                    wish.spec.delete_on_termination
                );
                assert_eq!(eni.source_dest_check, wish.spec.source_dest_check);
                assert_eq!(eni.subnet.as_str(), wish.spec.subnet_id.as_str());
            }
        }
        assert_eq!(self.ours().len(), wished, "no interface is left over");
    }

    /// Interfaces without our tag are as they were in the beginning.
    pub(in crate::planner) fn check_others(&self, beginning: &Self) {
        let others = |model: &Self| {
            let world = model.door.world();
            let others = world
                .interfaces()
                .filter(|eni| !eni.tags.contains_key(mark::TAG_ATTACHMENT));
            others
                .map(|eni| (eni.id.to_string(), eni.tags.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(others(self), others(beginning));
    }
}
