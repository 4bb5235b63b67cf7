//! Routes: where they may lead, and what becomes of them when nobody is there.

use crate::bench::{A, Bench, I, all};

const TABLE: &str = "RouteTableId=rtb-00000001";

/// The state of the route to `10.9.0.0/16`.
fn state(bench: &mut Bench) -> String {
    let body = bench.ask("DescribeRouteTables").unwrap();
    let item = body
        .split("<item>")
        .find(|item| item.contains("10.9.0.0/16"));
    item.map_or_else(
        || "none".to_owned(),
        |item| all(item, "state")[0].to_owned(),
    )
}

#[test]
fn a_route_to_an_interface_is_a_blackhole_while_nobody_is_there() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    let route = format!("{TABLE} DestinationCidrBlock=10.9.3.0/16 NetworkInterfaceId={eni}");
    assert_eq!(bench.say(&format!("CreateRoute {route}")), "OK");
    assert_eq!(state(&mut bench), "blackhole");
    let tie = bench.attach(&eni, I, 1);
    assert_eq!(state(&mut bench), "active");
    assert_eq!(bench.say(&format!("StopInstances InstanceId.1={I}")), "OK");
    assert_eq!(state(&mut bench), "blackhole");
    assert_eq!(bench.say(&format!("StartInstances InstanceId.1={I}")), "OK");
    assert_eq!(state(&mut bench), "active");
    bench.say(&format!("DetachNetworkInterface AttachmentId={tie}"));
    assert_eq!(state(&mut bench), "blackhole");
    bench.say(&format!("DeleteNetworkInterface NetworkInterfaceId={eni}"));
    assert_eq!(state(&mut bench), "blackhole", "the route outlives it");
    let delete = format!("DeleteRoute {TABLE} DestinationCidrBlock=10.9.0.0/16");
    assert_eq!(bench.say(&delete), "OK");
    assert_eq!(state(&mut bench), "none");
}

#[test]
fn routes_that_cannot_be_are_refused() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    let to = format!("NetworkInterfaceId={eni}");
    let new = "DestinationCidrBlock=10.9.0.0/16";
    for (request, answer) in [
        (
            format!("CreateRoute RouteTableId=rtb-0000dead {new} {to}"),
            "InvalidRouteTableID.NotFound: The routeTable ID 'rtb-0000dead' does not exist",
        ),
        (
            format!("CreateRoute RouteTableId=main {new} {to}"),
            "InvalidRouteTableId.Malformed: Invalid id: \"main\" (expecting \"rtb-...\")",
        ),
        (
            format!("CreateRoute {TABLE} DestinationCidrBlock=10.200.0.0/16 {to}"),
            "RouteAlreadyExists: The route identified by 10.200.0.0/16 already exists.",
        ),
        (
            format!("CreateRoute {TABLE} {new} NetworkInterfaceId=eni-0000dead"),
            "InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-0000dead' does not \
             exist",
        ),
        (
            format!("CreateRoute {TABLE} DestinationCidrBlock=ten {to}"),
            "InvalidParameterValue: Value (ten) for parameter destinationCidrBlock is invalid. This \
             is not a valid CIDR block.",
        ),
        (
            format!("ReplaceRoute {TABLE} {new} {to}"),
            "InvalidParameterValue: There is no route defined for '10.9.0.0/16' in the route table. \
             Use CreateRoute instead.",
        ),
        (
            format!("DeleteRoute {TABLE} {new}"),
            "InvalidRoute.NotFound: no route with destination-cidr-block 10.9.0.0/16 in route table \
             rtb-00000001",
        ),
    ] {
        assert_eq!(bench.say(&request), answer);
    }
    for target in ["", "NetworkInterfaceId=eni-0000dead GatewayId=igw-00000001"] {
        let said = bench.say(&format!("CreateRoute {TABLE} {new} {target}"));
        assert!(said.contains("exactly one of"), "{said}");
    }
}
