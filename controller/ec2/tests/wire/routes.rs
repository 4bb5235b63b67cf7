//! Route tables as a client reads and changes them.

use ec2_sim::RouteTableSpec;
use eniway_ec2::{
    Call, Ec2 as _, NewAttachment, Route, RouteChange, RouteDeed, RouteTarget, Verdict,
};

use crate::world::{INSTANCE, Wire, new_eni, spec, vpc};

const TABLE: &str = "rtb-00000001";

fn table(id: Option<&str>) -> RouteTableSpec {
    RouteTableSpec {
        id: id.map(|id| ec2_sim::RouteTableId::parse(id).unwrap()),
        vpc: None,
        tags: Default::default(),
        gateways: [("0.0.0.0/0".parse().unwrap(), "igw-00000001".to_owned())].into(),
    }
}

fn change(destination: &str, deed: RouteDeed) -> RouteChange {
    RouteChange {
        table: TABLE.into(),
        destination: destination.parse().unwrap(),
        deed,
    }
}

#[tokio::test]
async fn a_route_is_created_replaced_and_deleted() {
    let mut spec = spec();
    spec.route_tables = vec![table(Some(TABLE))];
    let Wire {
        ec2,
        server: _server,
    } = &Wire::start(spec).await;
    let (one, other) = (
        ec2.create(&new_eni("uid-1")).await.unwrap().id,
        ec2.create(&new_eni("uid-2")).await.unwrap().id,
    );
    let attachment = NewAttachment {
        eni: other.clone(),
        instance: INSTANCE.into(),
        device_index: 1,
        network_card_index: 0,
        ena_queue_count: None,
    };
    ec2.attach(&attachment).await.unwrap();
    let found = async |destination: &str| -> Option<Route> {
        let tables = ec2.route_tables(&vpc()).await.unwrap();
        assert_eq!((tables.len(), &tables[0].id), (1, &TABLE.into()));
        let destination = destination.parse().unwrap();
        let mut routes = tables[0].routes.iter();
        routes
            .find(|route| route.destination == destination)
            .cloned()
    };
    let gateway = found("0.0.0.0/0").await.unwrap();
    assert_eq!(
        gateway.target,
        RouteTarget::Other("igw-00000001".to_owned())
    );
    for destination in ["10.9.0.0/16", "2001:db8:9::/64"] {
        let create = change(destination, RouteDeed::Create(one.clone()));
        ec2.route(&create).await.unwrap();
        let route = found(destination).await.unwrap();
        assert_eq!(route.target, RouteTarget::Interface(one.clone()));
        assert!(route.blackhole, "it is attached to nothing");
        let again = ec2.route(&create).await.unwrap_err();
        assert_eq!(again.verdict(), Verdict::Replan);

        let replace = change(destination, RouteDeed::Replace(other.clone()));
        ec2.route(&replace).await.unwrap();
        let route = found(destination).await.unwrap();
        assert_eq!(route.target, RouteTarget::Interface(other.clone()));
        assert!(!route.blackhole);

        let delete = change(destination, RouteDeed::Delete);
        ec2.route(&delete).await.unwrap();
        assert_eq!(found(destination).await, None);
        let again = ec2.route(&delete).await.unwrap_err();
        assert_eq!(again.verdict(), Verdict::AlreadyDone);
        let nothing = ec2.route(&replace).await.unwrap_err();
        assert_eq!(nothing.verdict(), Verdict::Replan);
    }
}

#[tokio::test]
async fn route_tables_come_on_more_than_one_page() {
    let mut spec = spec();
    spec.route_tables = vec![table(None); 150];
    let wire = Wire::start(spec).await;
    assert_eq!(wire.ec2.route_tables(&vpc()).await.unwrap().len(), 150);
    assert_eq!(wire.calls(Call::DescribeRouteTables), 2);
}
