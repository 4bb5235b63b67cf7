//! Reads what pools select: with each whole read, and once when a pool is new or changed.

use std::collections::BTreeMap;

use eniway_api::{EniPool, TagSelector};
use eniway_ec2::{Eni, Error, Interfaces};

use crate::controller::Controller;

fn asked_for(selector: &TagSelector) -> Interfaces {
    let tags = selector.tags.iter();
    Interfaces::WithTags(
        tags.map(|(key, tag)| (key.clone(), tag.0.clone()))
            .collect(),
    )
}

impl Controller {
    /// The interfaces that pools select: one read for each selector, and none without pools.
    pub(super) async fn selected(&self) -> Result<Vec<Eni>, Error> {
        let selectors: BTreeMap<String, TagSelector> = {
            let cache = self.cache();
            let pools = cache.pools.values();
            let selectors = pools.filter_map(|pool| pool.spec.selector.clone());
            selectors.map(|one| (one.to_string(), one)).collect()
        };
        let mut found = Vec::new();
        for selector in selectors.values() {
            found.extend(self.ec2.interfaces(&asked_for(selector)).await?);
        }
        Ok(found)
    }

    /// What one pool selects, before the next whole read.
    pub(crate) async fn read_pool(&self, pool: &EniPool) -> Result<(), Error> {
        let Some(selector) = &pool.spec.selector else {
            return Ok(());
        };
        let begun = self.now();
        let found = self.ec2.interfaces(&asked_for(selector)).await?;
        self.snapshot_mut().read_enis(found, begun);
        self.pool_due(pool.metadata.name.as_deref().unwrap_or_default());
        Ok(())
    }
}
