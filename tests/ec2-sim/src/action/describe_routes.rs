//! DescribeRouteTables.

use std::sync::Arc;

use ipnet::IpNet;

use crate::error::{ApiError, no_route_table};
use crate::filter::{Filters, Values};
use crate::ids::RouteTableId;
use crate::page::page;
use crate::request::Request;
use crate::route_table::{RouteTable, Target};
use crate::world::World;
use crate::xml::Xml;

/// Rows of the largest page.
const PAGE: usize = 100;

impl World {
    pub(super) fn describe_route_tables(&self, request: &Request) -> Result<String, ApiError> {
        let filters = Filters::parse(request, &["owner-id", "route-table-id", "vpc-id"])?;
        let ids = request
            .list("RouteTableId")
            .into_iter()
            .map(RouteTableId::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let tables = self.route_tables.seen();
        if let Some(unknown) = ids.iter().find(|id| !tables.contains_key(id)) {
            return Err(no_route_table(unknown));
        }
        request.end_dry_run()?;
        let values = |table: &RouteTable, name: &str| -> Values {
            vec![match name {
                "owner-id" => self.account.clone(),
                "route-table-id" => table.id.to_string(),
                _ => table.vpc.to_string(),
            }]
        };
        let rows = tables
            .values()
            .map(Arc::as_ref)
            .filter(|table| ids.is_empty() || ids.contains(&table.id))
            .filter(|table| filters.accept(&table.tags, |name| values(table, name)))
            .collect();
        let page = page(
            request,
            "RouteTableId",
            PAGE,
            rows,
            |table: &&RouteTable| table.id.as_str(),
        )?;
        Ok(Xml::fragment(|xml| {
            xml.set("routeTableSet", page.rows, |xml, table| {
                self.write_route_table(xml, table);
            });
            xml.optional("nextToken", page.next_token);
        }))
    }

    fn write_route_table(&self, xml: &mut Xml, table: &RouteTable) {
        xml.leaf("routeTableId", &table.id);
        xml.leaf("vpcId", &table.vpc);
        xml.leaf("ownerId", &self.account);
        xml.set("routeSet", &table.routes, |xml, (destination, target)| {
            self.write_route(xml, destination, target);
        });
        xml.tags(&table.tags);
    }

    fn write_route(&self, xml: &mut Xml, destination: &IpNet, target: &Target) {
        match destination {
            IpNet::V4(cidr) => xml.leaf("destinationCidrBlock", cidr),
            IpNet::V6(cidr) => xml.leaf("destinationIpv6CidrBlock", cidr),
        }
        match target {
            Target::Local => xml.leaf("gatewayId", "local"),
            Target::Gateway(id) => xml.leaf("gatewayId", id),
            Target::Interface(eni) => {
                xml.leaf("networkInterfaceId", eni);
                let interface = self.interfaces.seen().get(eni);
                let attachment = interface.and_then(|found| found.attachment.as_ref());
                if let Some(attachment) = attachment {
                    xml.leaf("instanceId", &attachment.instance);
                    xml.leaf("instanceOwnerId", &self.account);
                }
            }
        }
        xml.leaf(
            "origin",
            match target {
                Target::Local => "CreateRouteTable",
                Target::Gateway(_) | Target::Interface(_) => "CreateRoute",
            },
        );
        xml.leaf("state", self.route_state(target));
    }
}
