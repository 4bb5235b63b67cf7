//! Route tables: read, and changed one route at a time.

use aws_sdk_ec2::types::{self, RouteState};
use eniway_api::VpcId;
use ipnet::IpNet;

use super::{Aws, failed, missing, read::filter};
use crate::{Call, Error, Route, RouteChange, RouteDeed, RouteTable, RouteTarget};

/// The most route tables that EC2 puts on one page.
const PAGE: i32 = 100;

impl Aws {
    pub(super) async fn route_tables(&self, vpc: &VpcId) -> Result<Vec<RouteTable>, Error> {
        let call = Call::DescribeRouteTables;
        let pages = self
            .client
            .describe_route_tables()
            .filters(filter("vpc-id", [vpc.as_str()]))
            .into_paginator()
            .page_size(PAGE)
            .items()
            .send();
        let found: Result<Vec<_>, _> = pages.try_collect().await;
        let found = found.map_err(|error| failed(call, error))?;
        let table = |table: &types::RouteTable| {
            let id = table.route_table_id();
            Ok(RouteTable {
                id: id.ok_or(missing(call, "routeTableId"))?.into(),
                routes: table.routes().iter().filter_map(route).collect(),
            })
        };
        found.iter().map(table).collect()
    }

    pub(super) async fn route(&self, change: &RouteChange) -> Result<(), Error> {
        let call = change.call();
        let table = Some(change.table.to_string());
        let (v4, v6) = match change.destination {
            IpNet::V4(cidr) => (Some(cidr.to_string()), None),
            IpNet::V6(cidr) => (None, Some(cidr.to_string())),
        };
        match &change.deed {
            RouteDeed::Create(eni) => {
                let request = self
                    .client
                    .create_route()
                    .set_route_table_id(table)
                    .set_destination_cidr_block(v4)
                    .set_destination_ipv6_cidr_block(v6)
                    .network_interface_id(eni.as_str());
                let answer = request.send().await;
                answer.map(drop).map_err(|error| failed(call, error))
            }
            RouteDeed::Replace(eni) => {
                let request = self
                    .client
                    .replace_route()
                    .set_route_table_id(table)
                    .set_destination_cidr_block(v4)
                    .set_destination_ipv6_cidr_block(v6)
                    .network_interface_id(eni.as_str());
                let answer = request.send().await;
                answer.map(drop).map_err(|error| failed(call, error))
            }
            RouteDeed::Delete => {
                let request = self
                    .client
                    .delete_route()
                    .set_route_table_id(table)
                    .set_destination_cidr_block(v4)
                    .set_destination_ipv6_cidr_block(v6);
                let answer = request.send().await;
                answer.map(drop).map_err(|error| failed(call, error))
            }
        }
    }
}

/// `None` for a route to a prefix list.
fn route(from: &types::Route) -> Option<Route> {
    let destination = from
        .destination_cidr_block()
        .or(from.destination_ipv6_cidr_block())?;
    let others = [
        from.gateway_id(),
        from.nat_gateway_id(),
        from.transit_gateway_id(),
        from.vpc_peering_connection_id(),
        from.egress_only_internet_gateway_id(),
        from.local_gateway_id(),
        from.carrier_gateway_id(),
        from.core_network_arn(),
        from.instance_id(),
    ];
    let target = match from.network_interface_id() {
        Some(eni) => RouteTarget::Interface(eni.into()),
        None => {
            let other = others.into_iter().flatten().next();
            RouteTarget::Other(other.unwrap_or("another target").to_owned())
        }
    };
    Some(Route {
        destination: destination.parse().ok()?,
        target,
        blackhole: from.state() == Some(&RouteState::Blackhole),
    })
}
