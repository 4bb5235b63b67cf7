//! Route tables: where a network sends what, and whether somebody is there to take it.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::ids::{EniId, RouteTableId, VpcId};
use crate::model::{AttachmentState, InstanceState, Tags};
use crate::world::World;

#[derive(Clone, Debug)]
pub struct RouteTable {
    pub id: RouteTableId,
    pub vpc: VpcId,
    pub tags: Tags,
    /// By destination.
    pub routes: BTreeMap<IpNet, Target>,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Inside the network.
    Local,
    Interface(EniId),
    /// A gateway, by its id; it is always there.
    Gateway(String),
}

impl World {
    /// EC2's state of a route, as readers of the API see it.
    #[must_use]
    pub fn route_state(&self, target: &Target) -> &'static str {
        let taken = match target {
            Target::Local | Target::Gateway(_) => true,
            Target::Interface(eni) => self.forwards(eni),
        };
        if taken { "active" } else { "blackhole" }
    }

    /// Whether the interface is attached to an instance that runs.
    fn forwards(&self, eni: &EniId) -> bool {
        let attachment = self
            .interfaces
            .seen()
            .get(eni)
            .and_then(|interface| interface.attachment.as_ref())
            .filter(|attachment| attachment.state == AttachmentState::Attached);
        let instance = attachment.and_then(|tie| self.instances.seen().get(&tie.instance));
        instance.is_some_and(|instance| instance.state == InstanceState::Running)
    }
}
