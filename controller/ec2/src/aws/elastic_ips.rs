//! Elastic IPs: read, given to an interface, and taken off it.

use aws_sdk_ec2::types;
use eniway_api::{AllocationId, AssociationId, EniId};

use super::{Aws, failed, missing, parse};
use crate::{Call, ElasticIp, Error};

impl Aws {
    /// All of the account's in the region: EC2 has no pages of them.
    pub(super) async fn elastic_ips(&self) -> Result<Vec<ElasticIp>, Error> {
        let call = Call::DescribeAddresses;
        let answer = self.client.describe_addresses().send().await;
        let answer = answer.map_err(|error| failed(call, error))?;
        Ok(answer.addresses().iter().filter_map(elastic_ip).collect())
    }

    pub(super) async fn associate(
        &self,
        address: &AllocationId,
        eni: &EniId,
    ) -> Result<AssociationId, Error> {
        let call = Call::AssociateAddress;
        // Without a private address EC2 takes the primary one; what something else has, stays there.
        let request = self
            .client
            .associate_address()
            .allocation_id(address.as_str())
            .network_interface_id(eni.as_str())
            .allow_reassociation(false);
        let answer = request.send().await.map_err(|error| failed(call, error))?;
        let id = answer.association_id();
        Ok(id.ok_or(missing(call, "associationId"))?.into())
    }

    pub(super) async fn disassociate(&self, association: &AssociationId) -> Result<(), Error> {
        let call = Call::DisassociateAddress;
        let request = self.client.disassociate_address();
        let request = request.association_id(association.as_str());
        let answer = request.send().await;
        answer.map(drop).map_err(|error| failed(call, error))
    }
}

/// `None` for what no user of the account may give away: a carrier's address, or one that a service of
/// AWS manages.
fn elastic_ip(from: &types::Address) -> Option<ElasticIp> {
    if from.service_managed().is_some() {
        return None;
    }
    Some(ElasticIp {
        id: from.allocation_id()?.into(),
        public_ip: from.public_ip()?.parse().ok()?,
        is_associated: from.association_id().is_some(),
        eni: from.network_interface_id().map(Into::into),
        tags: from.tags().iter().filter_map(parse::tag).collect(),
    })
}
