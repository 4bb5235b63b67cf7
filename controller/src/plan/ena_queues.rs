//! Decides how many ENA queues an interface is asked to have.

use eniway_api::{NodeEniAttachment, conditions::reason};
use eniway_ec2::{Attachment, Change, EnaQueues, Eni, Instance};

use super::{Note, Planner, progressing};
use crate::action::{Action, Look, Target};

/// What to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Queues {
    /// Nobody asks.
    AsGiven,
    Asked(u16),
    /// The type has not so many, or lets nobody choose.
    NotAvailable(Note),
    /// EC2 is asked what the type does.
    NotKnown(Option<Note>),
}

impl Planner<'_> {
    pub(super) fn ena_queues(&mut self, record: &NodeEniAttachment, instance: &Instance) -> Queues {
        let Some(count) = record.spec.ena_queue_count else {
            return Queues::AsGiven;
        };
        let name = &instance.instance_type;
        let Some(limits) = self.observed.snapshot.types.get(name) else {
            self.push(Action::Look(Look::InstanceType(name.clone())));
            let text = format!("asking EC2 how many ENA queues an interface of a {name} has");
            return Queues::NotKnown(progressing(text));
        };
        let message = match limits.ena_queues {
            EnaQueues::Unknown => return Queues::Asked(count),
            EnaQueues::Flexible(most) if count <= most => return Queues::Asked(count),
            EnaQueues::Flexible(most) => format!(
                "{} is a {name}, whose interfaces have {most} ENA queues at most: enaQueueCount \
                 {count} is left out",
                instance.id
            ),
            EnaQueues::Fixed => format!(
                "{} is a {name}, on which the number of ENA queues cannot be chosen: enaQueueCount \
                 {count} is left out",
                instance.id
            ),
        };
        Queues::NotAvailable(Note {
            reason: reason::ENA_QUEUES_NOT_AVAILABLE,
            message,
        })
    }

    /// Changes the number on an interface that is attached; says why that is not possible.
    pub(super) fn change_ena_queues(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        attachment: &Attachment,
        on: &Target,
    ) -> Option<Note> {
        let instance = self.observed.snapshot.instance(&attachment.instance)?;
        let count = match self.ena_queues(record, instance) {
            Queues::Asked(count) => count,
            Queues::AsGiven => return None,
            Queues::NotAvailable(note) => return Some(note),
            Queues::NotKnown(note) => return note,
        };
        let status = record.status.as_ref();
        let ec2 = status.and_then(|status| status.ec2.as_ref());
        // EC2 need not tell what it was asked for.
        let asked = ec2
            .filter(|ec2| ec2.attachment_id.as_ref() == Some(&attachment.id))
            .and_then(|ec2| ec2.ena_queue_count);
        if attachment.ena_queue_count.or(asked) != Some(count) {
            let change = Change::EnaQueueCount(attachment.id.clone(), count);
            self.modify(eni, change, on);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use eniway_api::NodeEniAttachmentSpec;
    use eniway_ec2::{EnaQueues, InstanceType};

    use super::*;
    use crate::plan::tests::Stage;

    /// An attached interface that has so many queues and is to have 4.
    fn stage(queues: EnaQueues, has: Option<u16>) -> Stage {
        let mut stage = Stage::attached(NodeEniAttachmentSpec {
            ena_queue_count: Some(4),
            ..NodeEniAttachmentSpec::default()
        });
        stage.ena_queues = queues;
        stage.eni().attachment.as_mut().unwrap().ena_queue_count = has;
        stage
    }

    #[test]
    fn the_number_is_changed_where_it_can_be_and_told_where_not() {
        let change = "set enaQueueCount of eni-1 to 4";
        assert_eq!(stage(EnaQueues::Flexible(8), Some(2)).does(), change);
        assert_eq!(stage(EnaQueues::Flexible(8), None).does(), change);
        assert_eq!(stage(EnaQueues::Unknown, Some(2)).does(), change);
        assert_eq!(stage(EnaQueues::Flexible(8), Some(4)).does(), "");
        for queues in [EnaQueues::Fixed, EnaQueues::Flexible(2)] {
            let stage = stage(queues, Some(2));
            assert_eq!(stage.does(), "");
            assert_eq!(stage.says().0, reason::ENA_QUEUES_NOT_AVAILABLE);
        }
    }

    #[test]
    fn it_goes_with_the_attachment_where_it_can() {
        let asked = |queues| {
            let mut stage = stage(queues, None);
            stage.eni().attachment = None;
            let actions = stage.plan().actions;
            let attach = actions.iter().find_map(|action| match action {
                Action::Attach { new, .. } => Some(new.ena_queue_count),
                _ => None,
            });
            attach.unwrap()
        };
        assert_eq!(asked(EnaQueues::Flexible(4)), Some(4));
        assert_eq!(asked(EnaQueues::Fixed), None);
    }

    #[test]
    fn what_ec2_was_asked_for_and_does_not_tell_is_not_asked_for_again() {
        let mut stage = stage(EnaQueues::Unknown, None);
        stage.record.status.get_or_insert_default().ec2 = Some(eniway_api::Ec2Status {
            attachment_id: Some("eni-attach-1".into()),
            ena_queue_count: Some(4),
            ..eniway_api::Ec2Status::default()
        });
        assert_eq!(stage.does(), "");
        stage.eni().attachment.as_mut().unwrap().id = "eni-attach-2".into();
        assert_eq!(stage.does(), "set enaQueueCount of eni-1 to 4");
    }

    #[test]
    fn limits_of_a_type_are_asked_for_before_it_is_attached() {
        let mut stage = stage(EnaQueues::Fixed, None);
        stage.eni().attachment = None;
        stage.types_known = false;
        assert_eq!(stage.does(), "look at the limits of m5.large");
        let unasked =
            InstanceType::clone(eniway_ec2::instance_types::built_in("m5.large").unwrap());
        assert_eq!(unasked.ena_queues, EnaQueues::Unknown);
    }
}
