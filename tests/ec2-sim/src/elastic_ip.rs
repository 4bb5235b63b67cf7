//! Elastic IPs: public addresses of the account, each of one private address at most.

use std::net::Ipv4Addr;

use jiff::Timestamp;

use crate::ids::{AllocationId, AssociationId, EniId};
use crate::model::Tags;
use crate::world::World;

/// An address that is allocated to the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticIp {
    pub id: AllocationId,
    pub public_ip: Ipv4Addr,
    pub tags: Tags,
    pub association: Option<Holder>,
}

/// What has an Elastic IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub id: AssociationId,
    pub interface: EniId,
    pub private_ip: Ipv4Addr,
}

/// The Elastic IP of an interface's private address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    pub id: AssociationId,
    pub allocation: AllocationId,
    pub public_ip: Ipv4Addr,
}

impl World {
    /// Gives a private address of an interface an Elastic IP; both exist and have none.
    pub(crate) fn join(
        &mut self,
        allocation: &AllocationId,
        interface: &EniId,
        private_ip: Ipv4Addr,
        now: Timestamp,
    ) -> AssociationId {
        let id = self.namer.association();
        let holder = Holder {
            id: id.clone(),
            interface: interface.clone(),
            private_ip,
        };
        let public_ip = self.elastic_ips.change(now, allocation, |one| {
            one.association = Some(holder);
            one.public_ip
        });
        if let Some(public_ip) = public_ip {
            let association = Association {
                id: id.clone(),
                allocation: allocation.clone(),
                public_ip,
            };
            self.interfaces.change(now, interface, |eni| {
                eni.public.insert(private_ip, association)
            });
        }
        id
    }

    /// Ends what an Elastic IP has to do with an interface.
    pub(crate) fn part(&mut self, allocation: &AllocationId, now: Timestamp) {
        let holder = self
            .elastic_ips
            .change(now, allocation, |one| one.association.take());
        if let Some(holder) = holder.flatten() {
            self.interfaces.change(now, &holder.interface, |eni| {
                eni.public.remove(&holder.private_ip)
            });
        }
    }

    /// Every Elastic IP as it is now.
    pub fn elastic_ips(&self) -> impl Iterator<Item = &ElasticIp> {
        self.elastic_ips.values()
    }

    /// Every Elastic IP as readers of the API see it.
    pub fn seen_elastic_ips(&self) -> impl Iterator<Item = &ElasticIp> {
        self.elastic_ips.seen().values().map(std::sync::Arc::as_ref)
    }
}
