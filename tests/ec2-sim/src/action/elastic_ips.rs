//! DescribeAddresses, AssociateAddress and DisassociateAddress.

use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::elastic_ip::{ElasticIp, Holder};
use crate::error::{ApiError, api, invalid_combination, invalid_value, missing, no_elastic_ip};
use crate::filter::{Filters, Values};
use crate::ids::{AllocationId, AssociationId, EniId, InstanceId};
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

const FILTERS: &[&str] = &[
    "allocation-id",
    "association-id",
    "instance-id",
    "network-interface-id",
    "network-interface-owner-id",
    "private-ip-address",
    "public-ip",
];

impl World {
    /// All at once: EC2 has no pages of them.
    pub(super) fn describe_addresses(&self, request: &Request) -> Result<String, ApiError> {
        let filters = Filters::parse(request, FILTERS)?;
        let ids = request
            .list("AllocationId")
            .into_iter()
            .map(AllocationId::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let seen = self.elastic_ips.seen();
        if let Some(unknown) = ids.iter().find(|id| !seen.contains_key(id)) {
            return Err(no_elastic_ip(unknown));
        }
        request.end_dry_run()?;
        let rows = seen
            .values()
            .map(Arc::as_ref)
            .filter(|one| ids.is_empty() || ids.contains(&one.id))
            .filter(|one| filters.accept(&one.tags, |name| self.elastic_ip_values(one, name)));
        Ok(Xml::fragment(|xml| {
            xml.set("addressesSet", rows, |xml, one| {
                self.write_elastic_ip(xml, one);
            });
        }))
    }

    /// The instance whose interface has it.
    fn instance_with(&self, holder: &Holder) -> Option<InstanceId> {
        let interface = self.interfaces.get(&holder.interface)?;
        let attachment = interface.attachment.as_ref()?;
        Some(attachment.instance.clone())
    }

    fn elastic_ip_values(&self, one: &ElasticIp, name: &str) -> Values {
        let holder = one.association.as_ref();
        let held = match name {
            "allocation-id" => Some(one.id.to_string()),
            "public-ip" => Some(one.public_ip.to_string()),
            "association-id" => holder.map(|holder| holder.id.to_string()),
            "instance-id" => holder
                .and_then(|holder| self.instance_with(holder))
                .map(|id| id.to_string()),
            "network-interface-id" => holder.map(|holder| holder.interface.to_string()),
            "network-interface-owner-id" => holder.map(|_| self.account.clone()),
            _ => holder.map(|holder| holder.private_ip.to_string()),
        };
        held.into_iter().collect()
    }

    fn write_elastic_ip(&self, xml: &mut Xml, one: &ElasticIp) {
        xml.leaf("publicIp", one.public_ip);
        xml.leaf("allocationId", &one.id);
        xml.leaf("domain", "vpc");
        xml.leaf("publicIpv4Pool", "amazon");
        xml.leaf("networkBorderGroup", &self.region);
        if let Some(holder) = &one.association {
            xml.optional("instanceId", self.instance_with(holder));
            xml.leaf("associationId", &holder.id);
            xml.leaf("networkInterfaceId", &holder.interface);
            xml.leaf("networkInterfaceOwnerId", &self.account);
            xml.leaf("privateIpAddress", holder.private_ip);
        }
        xml.tags(&one.tags);
    }

    pub(super) fn associate_address(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let allocation = AllocationId::parse(request.required("AllocationId")?)?;
        let eni = self.interface_to_associate(request, now)?;
        let may_move = request.flag("AllowReassociation")?.unwrap_or(true);
        let wanted: Option<Ipv4Addr> = request.value("PrivateIpAddress")?;
        let elastic_ip = self
            .elastic_ips
            .get(&allocation)
            .ok_or_else(|| no_elastic_ip(&allocation))?;
        let interface = self.known_interface(&eni, now)?;
        let private_ip = wanted.or(interface.addresses.first().copied());
        let private_ip = private_ip.filter(|address| interface.addresses.contains(address));
        let private_ip = private_ip.ok_or_else(|| {
            let named = wanted.map_or_else(|| "of IPv4".to_owned(), |address| address.to_string());
            invalid_value(format!(
                "The address {named} is not assigned to interface {eni}"
            ))
        })?;
        request.end_dry_run()?;
        let there = interface.public.get(&private_ip).cloned();
        let holder = elastic_ip.association.clone();
        if let Some(there) = there.as_ref().filter(|one| one.allocation == allocation) {
            // Repeated: EC2 agrees and changes nothing.
            return Ok(answer(&there.id));
        }
        let in_the_way = [
            holder.as_ref().map(|holder| (&allocation, &holder.id)),
            there.as_ref().map(|one| (&one.allocation, &one.id)),
        ];
        for (resource, association) in in_the_way.into_iter().flatten() {
            if !may_move {
                return Err(api(
                    "Resource.AlreadyAssociated",
                    format!(
                        "resource {resource} is already associated with associate-id {association}"
                    ),
                ));
            }
        }
        if holder.is_some() {
            self.part(&allocation, now);
        }
        if let Some(there) = there {
            self.part(&there.allocation, now);
        }
        Ok(answer(&self.join(&allocation, &eni, private_ip, now)))
    }

    /// The interface that the call names, or the only one of the instance that it names.
    fn interface_to_associate(&self, request: &Request, now: Timestamp) -> Result<EniId, ApiError> {
        match (
            request.text("NetworkInterfaceId"),
            request.text("InstanceId"),
        ) {
            (Some(_), Some(_)) => Err(invalid_combination(
                "You may specify either an instance or a network interface, not both.",
            )),
            (None, None) => Err(missing("NetworkInterfaceId")),
            (Some(eni), None) => {
                let eni = EniId::parse(eni)?;
                self.known_interface(&eni, now)?;
                Ok(eni)
            }
            (None, Some(instance)) => {
                let id = InstanceId::parse(instance)?;
                let instance = self.known_instance(&id)?;
                let mut interfaces = instance.interfaces.values();
                match (interfaces.next(), interfaces.next()) {
                    (Some(only), None) => Ok(only.clone()),
                    _ => Err(api(
                        "InvalidInstanceID",
                        format!(
                            "There are multiple interfaces attached to instance '{id}'. Please \
                             specify an interface ID for the operation instead."
                        ),
                    )),
                }
            }
        }
    }

    pub(super) fn disassociate_address(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let id = AssociationId::parse(request.required("AssociationId")?)?;
        let tied = |one: &&ElasticIp| one.association.as_ref().is_some_and(|tie| tie.id == id);
        let found = self.elastic_ips.values().find(tied);
        let allocation = found.map(|one| one.id.clone()).ok_or_else(|| {
            api(
                "InvalidAssociationID.NotFound",
                format!("The association ID '{id}' does not exist"),
            )
        })?;
        request.end_dry_run()?;
        self.part(&allocation, now);
        Ok(Xml::fragment(|xml| xml.leaf("return", true)))
    }
}

fn answer(association: &AssociationId) -> String {
    Xml::fragment(|xml| {
        xml.leaf("return", true);
        xml.leaf("associationId", association);
    })
}
