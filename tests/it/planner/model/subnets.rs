//! Users who change their minds about subnets, or about all of it.

use std::{collections::BTreeSet, sync::Arc};

use eniway_api::{DeletionPolicy, InstanceId};
use eniway_controller::{desired::Declared, status::ready};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Model;
use simulation::small_cloud::{epoch, subnet};

impl Model {
    /// Every NodeENI names these subnets.
    pub(in crate::planner) fn wish_subnets(&mut self, subnets: &[usize]) {
        for declared in &mut self.declared {
            if let Declared::Readable(node_eni) = declared {
                let ids = subnets.iter().map(|number| subnet(*number).as_str().into());
                Arc::make_mut(node_eni).spec.subnet_ids = ids.collect();
            }
        }
    }

    /// Every NodeENI is deleted, and its user wants to keep the interfaces.
    pub(in crate::planner) fn retain_and_delete(&mut self) {
        for declared in &mut self.declared {
            if let Declared::Readable(node_eni) = declared {
                let node_eni = Arc::make_mut(node_eni);
                node_eni.spec.deletion_policy = Some(DeletionPolicy::Retain);
                node_eni.metadata.deletion_timestamp = Some(Time(epoch()));
            }
        }
    }

    /// The instances on which an interface of ours is ready, and nobody is to release it.
    pub(in crate::planner) fn served(&self) -> BTreeSet<InstanceId> {
        let records = self.records.values();
        let serving =
            records.filter(|record| record.metadata.deletion_timestamp.is_none() && ready(record));
        serving
            .map(|record| record.spec.instance_id.clone())
            .collect()
    }
}
