//! Gives Elastic IPs and takes them back, and wakes who waits for one.

use eniway_api::{AllocationId, AssociationId, EniId};
use eniway_ec2::{Error, Verdict};

use crate::{controller::Controller, elastic_ips::waits};

impl Controller {
    /// EC2 refuses what something else has; repeated, it gives the same association.
    pub(super) async fn associate(&self, eni: &EniId, address: &AllocationId) -> Result<(), Error> {
        let association = self.ec2.associate(address, eni).await?;
        self.snapshot_mut()
            .associated(eni, address, association, self.now());
        Ok(())
    }

    pub(super) async fn disassociate(
        &self,
        eni: &EniId,
        association: &AssociationId,
    ) -> Result<(), Error> {
        match self.ec2.disassociate(association).await {
            // Somebody was faster: an association that is gone never comes back.
            Err(error) if error.verdict() != Verdict::AlreadyDone => Err(error),
            Ok(()) | Err(_) => {
                self.snapshot_mut().disassociated(eni, self.now());
                Ok(())
            }
        }
    }

    /// One may be free for somebody who waits.
    pub(crate) fn elastic_ips_freed(&self) {
        let nodes: Vec<_> = {
            let cache = self.cache();
            let waiting = cache.records.values().filter(|record| waits(record));
            waiting.map(|one| one.spec.node_name.clone()).collect()
        };
        for node in nodes {
            self.nodes.add(node, self.now());
        }
    }
}
