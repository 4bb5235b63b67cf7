//! Assigns addresses, and keeps in mind whose answer is outstanding.

use eniway_api::{Asked, Ec2Status, EniId, NodeEniAttachment};
use eniway_ec2::{Eni, Error, NewEni};

use crate::{action::Target, controller::Controller, memory::Assignment};

impl Controller {
    /// Creates an interface, with its addresses.
    pub(super) async fn create(&self, on: &Target, new: &NewEni) -> Result<Eni, Error> {
        let before = self.begins(on);
        let answer = self.ec2.create(new).await;
        match &answer {
            Ok(eni) => self.remember(&on.uid, |memory| {
                memory.was_assigned(eni.secondary().copied());
            }),
            Err(error) => self.refused_addresses(on, before, error),
        }
        answer
    }

    pub(super) async fn assign(
        &self,
        on: &Target,
        eni: &EniId,
        asked: &Asked,
    ) -> Result<(), Error> {
        let before = self.begins(on);
        match self.ec2.assign(eni, asked).await {
            Ok(entries) => {
                self.snapshot_mut().assigned(eni, &entries, self.now());
                self.remember(&on.uid, |memory| memory.was_assigned(entries));
                Ok(())
            }
            Err(error) => {
                self.refused_addresses(on, before, &error);
                Err(error)
            }
        }
    }

    /// The status is written: what it says was begun, nobody has called for yet.
    pub(super) fn noted(&self, old: &NodeEniAttachment, ec2: &Ec2Status) {
        let status = old.status.as_ref().and_then(|status| status.ec2.as_ref());
        if status.and_then(|ec2| ec2.assigning.as_ref()) != ec2.assigning.as_ref() {
            let uid = old.metadata.uid.clone().unwrap_or_default();
            self.remember(&uid, |memory| {
                memory.assignment = match ec2.assigning {
                    Some(_) => Assignment::Untried,
                    None => Assignment::Unknown,
                };
            });
        }
    }

    fn begins(&self, on: &Target) -> Assignment {
        let mut before = Assignment::Unknown;
        let now = self.now();
        self.remember(&on.uid, |memory| before = memory.assigns(now));
        before
    }

    fn refused_addresses(&self, on: &Target, before: Assignment, error: &Error) {
        let now = self.now();
        self.remember(&on.uid, |memory| {
            memory.was_not_assigned(before, error, now);
        });
    }
}
