//! Elastic IPs: of one address each, and never taken from another unless that is said.

use crate::bench::{A, Bench, I, all};

const FIRST: &str = "AllocationId=eipalloc-00000001";
const SECOND: &str = "AllocationId=eipalloc-00000002";

/// What the first interface in the answer has, and what has the first Elastic IP.
fn seen(bench: &mut Bench, eni: &str) -> (Vec<String>, Vec<String>) {
    let interfaces = format!("DescribeNetworkInterfaces NetworkInterfaceId.1={eni}");
    let interface = bench.ask(&interfaces).unwrap();
    let address = bench
        .ask("DescribeAddresses AllocationId.1=eipalloc-00000001")
        .unwrap();
    let texts = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
    (
        texts(all(&interface, "publicIp")),
        texts(all(&address, "networkInterfaceId")),
    )
}

#[test]
fn an_address_is_of_one_interface_until_that_gives_it_back_or_goes() {
    let mut bench = Bench::instant();
    let (one, other) = (bench.create(A), bench.create(A));
    let to = |eni: &str| format!("AssociateAddress {FIRST} NetworkInterfaceId={eni}");
    let tie = bench.get(&to(&one), "associationId");
    // Told for the interface, and again for its primary address.
    assert_eq!(
        seen(&mut bench, &one),
        (vec!["203.0.113.1".to_owned(); 2], vec![one.clone()])
    );
    assert_eq!(
        bench.get(&to(&one), "associationId"),
        tie,
        "repeated, it is the same"
    );
    let firm = |eni: &str| format!("{} AllowReassociation=false", to(eni));
    let refused = bench.say(&firm(&other));
    assert_eq!(
        refused,
        format!(
            "Resource.AlreadyAssociated: resource eipalloc-00000001 is already associated with \
             associate-id {tie}"
        )
    );
    let second = format!("AssociateAddress {SECOND} NetworkInterfaceId={one}");
    let refused = bench.say(&format!("{second} AllowReassociation=false"));
    assert!(
        refused.starts_with("Resource.AlreadyAssociated"),
        "its address has one already: {refused}"
    );
    let moved = bench.get(&to(&other), "associationId");
    assert_ne!(moved, tie, "it moves unless that is forbidden");
    assert_eq!(seen(&mut bench, &one), (Vec::new(), vec![other.clone()]));

    let gone = format!("DisassociateAddress AssociationId={tie}");
    assert_eq!(
        bench.say(&gone),
        format!("InvalidAssociationID.NotFound: The association ID '{tie}' does not exist")
    );
    let end = format!("DisassociateAddress AssociationId={moved}");
    assert_eq!(bench.say(&end), "OK");
    assert_eq!(seen(&mut bench, &other), (Vec::new(), Vec::new()));

    bench.say(&firm(&one));
    bench.say(&format!("DeleteNetworkInterface NetworkInterfaceId={one}"));
    assert_eq!(seen(&mut bench, &other), (Vec::new(), Vec::new()));
    assert_eq!(bench.say(&firm(&other)), "OK");
}

#[test]
fn a_secondary_address_may_have_one_and_loses_it_with_itself() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    let more =
        format!("AssignPrivateIpAddresses NetworkInterfaceId={eni} PrivateIpAddress.1=10.0.1.99");
    assert_eq!(bench.say(&more), "OK");
    let associate =
        format!("AssociateAddress {FIRST} NetworkInterfaceId={eni} PrivateIpAddress=10.0.1.99");
    assert_eq!(bench.say(&associate), "OK");
    assert_eq!(seen(&mut bench, &eni).1, std::slice::from_ref(&eni));
    let less =
        format!("UnassignPrivateIpAddresses NetworkInterfaceId={eni} PrivateIpAddress.1=10.0.1.99");
    assert_eq!(bench.say(&less), "OK");
    assert_eq!(seen(&mut bench, &eni), (Vec::new(), Vec::new()));
}

#[test]
fn associations_that_cannot_be_are_refused() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    bench.attach(&eni, I, 1);
    let to = format!("NetworkInterfaceId={eni}");
    for (request, answer) in [
        (
            format!("AssociateAddress {to}"),
            "MissingParameter: The request must contain the parameter allocationId",
        ),
        (
            format!("AssociateAddress {FIRST}"),
            "MissingParameter: The request must contain the parameter networkInterfaceId",
        ),
        (
            format!("AssociateAddress AllocationId=eipalloc-0000dead {to}"),
            "InvalidAllocationID.NotFound: The allocation ID 'eipalloc-0000dead' does not exist",
        ),
        (
            format!("AssociateAddress AllocationId=203.0.113.1 {to}"),
            "InvalidAllocationID.Malformed: Invalid id: \"203.0.113.1\" (expecting \
             \"eipalloc-...\")",
        ),
        (
            format!("AssociateAddress {FIRST} InstanceId={I} {to}"),
            "InvalidParameterCombination: You may specify either an instance or a network \
             interface, not both.",
        ),
        (
            format!("AssociateAddress {FIRST} InstanceId={I}"),
            "InvalidInstanceID: There are multiple interfaces attached to instance 'i-00000001'. \
             Please specify an interface ID for the operation instead.",
        ),
        (
            "DescribeAddresses AllocationId.1=eipalloc-0000dead".to_owned(),
            "InvalidAllocationID.NotFound: The allocation ID 'eipalloc-0000dead' does not exist",
        ),
        (
            "DescribeAddresses Filter.1.Name=vpc-id Filter.1.Value.1=vpc-00000001".to_owned(),
            "InvalidParameterValue: The filter 'vpc-id' is invalid",
        ),
    ] {
        assert_eq!(bench.say(&request), answer);
    }
    let stranger = format!("AssociateAddress {FIRST} {to} PrivateIpAddress=10.0.1.200");
    assert_eq!(
        bench.say(&stranger),
        format!("InvalidParameterValue: The address 10.0.1.200 is not assigned to interface {eni}")
    );
    let tagged = "Filter.1.Name=tag:tier Filter.1.Value.1=edge";
    let found = bench.ask(&format!("DescribeAddresses {tagged}")).unwrap();
    assert_eq!(all(&found, "allocationId"), ["eipalloc-00000002"]);
}
