//! The actions of the API: reads a request, carries it out, writes the answer.

mod addresses;
mod attach;
mod attributes;
mod create;
mod delete_networks;
mod describe_instances;
mod describe_interfaces;
mod describe_networks;
mod describe_routes;
mod elastic_ips;
mod instances;
mod launch;
mod routes;
mod tags;

use jiff::Timestamp;

pub use self::attach::AttachNetworkInterface;
pub use self::create::CreateNetworkInterface;
use crate::error::{ApiError, api};
use crate::request::{Request, Response};
use crate::world::World;
use crate::xml::{Service, Xml};

impl World {
    pub(crate) fn dispatch(
        &mut self,
        request: &Request,
        request_id: &str,
        now: Timestamp,
    ) -> Result<Response, ApiError> {
        let action = request.action();
        let content = match action {
            "DescribeInstances" => self.describe_instances(request),
            "DescribeInstanceTypes" => self.describe_instance_types(request),
            "DescribeSubnets" => self.describe_subnets(request),
            "DescribeSecurityGroups" => self.describe_security_groups(request),
            "DescribeRouteTables" => self.describe_route_tables(request),
            "CreateRoute" => self.create_route(request, now),
            "ReplaceRoute" => self.replace_route(request, now),
            "DeleteRoute" => self.delete_route(request, now),
            "DescribeAddresses" => self.describe_addresses(request),
            "AssociateAddress" => self.associate_address(request, now),
            "DisassociateAddress" => self.disassociate_address(request, now),
            "DescribeVpcs" => self.describe_vpcs(request),
            "DescribeNetworkInterfaces" => self.describe_network_interfaces(request),
            "DescribeNetworkInterfaceAttribute" => {
                self.describe_network_interface_attribute(request)
            }
            "CreateNetworkInterface" => self.once(request, |world| {
                world.create_network_interface(request, now)
            }),
            "AttachNetworkInterface" => self.attach_network_interface(request, now),
            "DetachNetworkInterface" => self.detach_network_interface(request, now),
            "DeleteSubnet" => self.delete_subnet(request),
            "DeleteSecurityGroup" => self.delete_security_group(request),
            "DeleteNetworkInterface" => self.delete_network_interface(request, now),
            "ModifyNetworkInterfaceAttribute" => {
                self.modify_network_interface_attribute(request, now)
            }
            "AssignPrivateIpAddresses" => self.assign_private_ip_addresses(request, now),
            "UnassignPrivateIpAddresses" => self.unassign_private_ip_addresses(request, now),
            "AssignIpv6Addresses" => self.assign_ipv6_addresses(request, now),
            "UnassignIpv6Addresses" => self.unassign_ipv6_addresses(request, now),
            "CreateTags" => self.create_tags(request, now),
            "DeleteTags" => self.delete_tags(request, now),
            "RunInstances" => self.once(request, |world| world.run_instances(request, now)),
            "StartInstances" => self.start_instances(request, now),
            "StopInstances" => self.stop_instances(request, now),
            "TerminateInstances" => self.terminate_instances(request, now),
            "GetCallerIdentity" => Ok(self.caller_identity()),
            "" => Err(api(
                "MissingAction",
                "The request is missing an action parameter.",
            )),
            _ => Err(api(
                "InvalidAction",
                format!("The action {action} is not valid for this web service."),
            )),
        }?;
        Ok(Response {
            body: Xml::answer(service_of(request), action, request_id, &content),
        })
    }

    /// Carries out a call unless its client token says that it was carried out before.
    fn once(
        &mut self,
        request: &Request,
        carry_out: impl FnOnce(&mut Self) -> Result<String, ApiError>,
    ) -> Result<String, ApiError> {
        if let Some(answer) = self.tokens.replay(request)? {
            return Ok(answer);
        }
        let answer = carry_out(self)?;
        self.tokens.burn(request, &answer);
        Ok(answer)
    }

    fn caller_identity(&self) -> String {
        Xml::fragment(|xml| {
            xml.leaf(
                "Arn",
                format_args!(
                    "arn:aws:sts::{}:assumed-role/eniway/simulated",
                    self.account
                ),
            );
            xml.leaf("UserId", "AROASIMULATED00000000:simulated");
            xml.leaf("Account", &self.account);
        })
    }
}

/// Both services answer on one endpoint and are told apart by what is asked.
pub(crate) fn service_of(request: &Request) -> Service {
    match request.action() {
        "GetCallerIdentity" => Service::Sts,
        _ if request.text("Version") == Some("2011-06-15") => Service::Sts,
        _ => Service::Ec2,
    }
}
