//! Looks at route tables: each minute while a NodeENI asks for routes, else as rarely as at subnets, so
//! that a route which leads nowhere is told of.

use eniway_api::VpcId;
use tracing::warn;

use crate::{apply::Chain, controller::Controller, desired::Declared};

impl Controller {
    /// Reads them when their time has come; a cycle that reads subnets or groups leaves them out.
    pub(super) async fn read_tables_by_the_clock(&self, vpc: &VpcId, cycle: u32) {
        let due = cycle % self.catalog_cycles() == 2;
        let (asked, any) = {
            let cache = self.cache();
            let asked = cache.node_enis.values().any(|declared| match declared {
                Declared::Readable(node_eni) => {
                    let status = node_eni.status.as_ref();
                    !node_eni.spec.routes.is_empty()
                        || status.is_some_and(|status| status.routes.iter().any(|one| one.created))
                }
                Declared::Unreadable { .. } => false,
            });
            (asked, cache.records.values().next().is_some())
        };
        if asked || (due && any) {
            self.read_tables(vpc).await;
        }
    }

    /// Whether they were read. A role that may not read them has no other trouble than that.
    pub(crate) async fn read_tables(&self, vpc: &VpcId) -> bool {
        let begun = self.now();
        match self.ec2.route_tables(vpc).await {
            Ok(tables) => self.snapshot_mut().read_tables(tables, begun),
            Err(error) => {
                warn!(error = %Chain(&error), "Route tables were not read");
                return false;
            }
        }
        true
    }
}
