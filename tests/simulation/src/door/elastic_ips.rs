//! The simulator's Elastic IPs, in the controller's words.

use ec2_sim::Request;
use eniway_api::{AllocationId, AssociationId, EniId};
use eniway_ec2::{Call, ElasticIp, Error};

use super::{Door, Place};

impl<P: Place> Door<P> {
    pub(super) async fn elastic_ips(&self) -> Result<Vec<ElasticIp>, Error> {
        let call = Call::DescribeAddresses;
        self.ask(call, Request::new(&call.to_string())).await?;
        let elastic_ip = |one: &ec2_sim::ElasticIp| ElasticIp {
            id: one.id.as_str().into(),
            public_ip: one.public_ip,
            is_associated: one.association.is_some(),
            eni: one
                .association
                .as_ref()
                .map(|holder| holder.interface.as_str().into()),
            tags: one.tags.clone(),
        };
        Ok(self
            .place
            .visit(|world, _| world.seen_elastic_ips().map(elastic_ip).collect()))
    }

    pub(super) async fn associate(
        &self,
        address: &AllocationId,
        eni: &EniId,
    ) -> Result<AssociationId, Error> {
        let call = Call::AssociateAddress;
        let request = Request::new(&call.to_string())
            .with("AllocationId", address)
            .with("NetworkInterfaceId", eni)
            .with("AllowReassociation", false);
        let response = self.ask(call, request).await?;
        let missing = Error::Incomplete {
            call,
            missing: "associationId",
        };
        Ok(response.first("associationId").ok_or(missing)?.into())
    }

    pub(super) async fn disassociate(&self, association: &AssociationId) -> Result<(), Error> {
        let call = Call::DisassociateAddress;
        let request = Request::new(&call.to_string()).with("AssociationId", association);
        self.ask(call, request).await.map(drop)
    }
}
