//! Looks at Elastic IPs: as rarely as at subnets, and only while somebody asks for one.

use tracing::warn;

use crate::{apply::Chain, controller::Controller};

impl Controller {
    /// Reads them when their time has come; where there is one, in a cycle that reads nothing else slow.
    pub(super) async fn read_elastic_ips_by_the_clock(&self, cycle: u32) {
        let every = self.catalog_cycles();
        if cycle % every != 3 % every {
            return;
        }
        let asked = {
            let cache = self.cache();
            let mut records = cache.records.values();
            records.any(|record| record.spec.elastic_ip.is_some())
        };
        if asked {
            self.read_elastic_ips().await;
        }
    }

    /// A role that may not read them has no other trouble than that.
    pub(super) async fn read_elastic_ips(&self) {
        let begun = self.now();
        match self.ec2.elastic_ips().await {
            Ok(all) => self.snapshot_mut().elastic_ips.told(all, begun),
            Err(error) => {
                warn!(error = %Chain(&error), "Elastic IPs were not read");
                let why = error.to_string();
                self.snapshot_mut().elastic_ips.untold(why, begun);
            }
        }
    }
}
