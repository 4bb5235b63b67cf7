//! CreateRoute, ReplaceRoute and DeleteRoute.

use ipnet::IpNet;
use jiff::Timestamp;

use crate::error::{ApiError, api, invalid_combination, invalid_value, no_route_table};
use crate::ids::{EniId, RouteTableId};
use crate::request::Request;
use crate::route_table::{RouteTable, Target};
use crate::world::World;
use crate::xml::Xml;

/// Routes of one table, by AWS's default quota.
const MAX_ROUTES: usize = 500;

impl World {
    pub(super) fn create_route(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let table = self.named_table(request)?;
        let destination = destination(request)?;
        let target = self.target(request, table, now)?;
        request.end_dry_run()?;
        if table.routes.contains_key(&destination) {
            return Err(api(
                "RouteAlreadyExists",
                format!("The route identified by {destination} already exists."),
            ));
        }
        if table.routes.len() >= MAX_ROUTES {
            return Err(api(
                "RouteLimitExceeded",
                "The maximum number of routes has been reached.",
            ));
        }
        Ok(self.set_route(&table.id.clone(), destination, Some(target), now))
    }

    pub(super) fn replace_route(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let table = self.named_table(request)?;
        let destination = destination(request)?;
        let target = self.target(request, table, now)?;
        request.end_dry_run()?;
        // Not `InvalidRoute.NotFound`: people met this.
        if !table.routes.contains_key(&destination) {
            return Err(invalid_value(format!(
                "There is no route defined for '{destination}' in the route table. Use CreateRoute \
                 instead."
            )));
        }
        Ok(self.set_route(&table.id.clone(), destination, Some(target), now))
    }

    pub(super) fn delete_route(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let table = self.named_table(request)?;
        let destination = destination(request)?;
        request.end_dry_run()?;
        match table.routes.get(&destination) {
            None => {
                let kind = match destination {
                    IpNet::V4(_) => "destination-cidr-block",
                    IpNet::V6(_) => "destination-ipv6-cidr-block",
                };
                Err(api(
                    "InvalidRoute.NotFound",
                    format!(
                        "no route with {kind} {destination} in route table {}",
                        table.id
                    ),
                ))
            }
            Some(Target::Local) => Err(invalid_value(format!(
                "cannot remove local route {destination} in route table {}",
                table.id
            ))),
            Some(Target::Gateway(_) | Target::Interface(_)) => {
                Ok(self.set_route(&table.id.clone(), destination, None, now))
            }
        }
    }

    fn set_route(
        &mut self,
        table: &RouteTableId,
        destination: IpNet,
        target: Option<Target>,
        now: Timestamp,
    ) -> String {
        self.route_tables.change(now, table, |table| match target {
            Some(target) => table.routes.insert(destination, target),
            None => table.routes.remove(&destination),
        });
        Xml::fragment(|xml| xml.leaf("return", true))
    }

    fn named_table(&self, request: &Request) -> Result<&RouteTable, ApiError> {
        let id = RouteTableId::parse(request.required("RouteTableId")?)?;
        let table = self.route_tables.get(&id);
        table.ok_or_else(|| no_route_table(&id))
    }

    /// The one target that the call names.
    fn target(
        &self,
        request: &Request,
        table: &RouteTable,
        now: Timestamp,
    ) -> Result<Target, ApiError> {
        const ALL: &str = "gatewayId, natGatewayId, networkInterfaceId, vpcPeeringConnectionId, \
                           egressOnlyInternetGatewayId, transitGatewayId or instanceId";
        let names = ["GatewayId", "NatGatewayId", "TransitGatewayId"];
        let mut gateways = names.iter().filter_map(|name| request.text(name));
        let interface = request.text("NetworkInterfaceId");
        match (interface, gateways.next(), gateways.next()) {
            (None, None, _) => Err(api(
                "MissingParameter",
                format!("The request must contain exactly one of {ALL}"),
            )),
            (None, Some(gateway), None) => Ok(Target::Gateway(gateway.to_owned())),
            (Some(eni), None, _) => {
                let eni = EniId::parse(eni)?;
                let interface = self.known_interface(&eni, now)?;
                if interface.vpc != table.vpc {
                    return Err(invalid_value(format!(
                        "route table {} and network interface {eni} belong to different networks",
                        table.id
                    )));
                }
                Ok(Target::Interface(eni))
            }
            _ => Err(invalid_combination(format!(
                "The request must contain exactly one of {ALL}"
            ))),
        }
    }
}

/// EC2 keeps the network of a block that says more.
fn destination(request: &Request) -> Result<IpNet, ApiError> {
    let (name, text) = match request.text("DestinationIpv6CidrBlock") {
        Some(text) => ("destinationIpv6CidrBlock", text),
        None => (
            "destinationCidrBlock",
            request.required("DestinationCidrBlock")?,
        ),
    };
    let block = text.parse::<IpNet>().ok();
    let block = block.filter(|block| matches!(block, IpNet::V6(_)) == name.contains("Ipv6"));
    block.map(|block| block.trunc()).ok_or_else(|| {
        invalid_value(format!(
            "Value ({text}) for parameter {name} is invalid. This is not a valid CIDR block."
        ))
    })
}
