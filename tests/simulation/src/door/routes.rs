//! The routes of the simulator's networks, in the controller's words.

use ec2_sim::{Request, Target};
use eniway_api::VpcId;
use eniway_ec2::{Call, Error, Route, RouteChange, RouteDeed, RouteTable, RouteTarget};
use ipnet::IpNet;

use super::{Door, Place};

impl<P: Place> Door<P> {
    pub(super) async fn read_route_tables(&self, vpc: &VpcId) -> Result<Vec<RouteTable>, Error> {
        let call = Call::DescribeRouteTables;
        let request = Request::new(&call.to_string()).with("MaxResults", 100);
        self.ask(call, request).await?;
        Ok(self.place.visit(|world, _| {
            let of_vpc = world
                .seen_route_tables()
                .filter(|table| table.vpc.as_str() == vpc.as_str());
            let route = |(destination, target): (&IpNet, &Target)| Route {
                destination: *destination,
                target: match target {
                    Target::Interface(eni) => RouteTarget::Interface(eni.as_str().into()),
                    Target::Gateway(id) => RouteTarget::Other(id.clone()),
                    Target::Local => RouteTarget::Other("local".to_owned()),
                },
                blackhole: world.route_state(target) == "blackhole",
            };
            of_vpc
                .map(|table| RouteTable {
                    id: table.id.as_str().into(),
                    routes: table.routes.iter().map(route).collect(),
                })
                .collect()
        }))
    }

    pub(super) async fn change_route(&self, change: &RouteChange) -> Result<(), Error> {
        let call = change.call();
        let name = match change.destination {
            IpNet::V4(_) => "DestinationCidrBlock",
            IpNet::V6(_) => "DestinationIpv6CidrBlock",
        };
        let request = Request::new(&call.to_string())
            .with("RouteTableId", &change.table)
            .with(name, change.destination);
        let request = match &change.deed {
            RouteDeed::Create(eni) | RouteDeed::Replace(eni) => {
                request.with("NetworkInterfaceId", eni)
            }
            RouteDeed::Delete => request,
        };
        self.ask(call, request).await.map(drop)
    }
}
