//! Addresses have one owner, an interface has its limit, a subnet its end.

use crate::bench::{A, Bench, I, SIX, TINY, all, attach};

#[test]
fn an_address_has_one_owner() {
    let mut bench = Bench::instant();
    let create =
        |address: &str| format!("CreateNetworkInterface SubnetId={A} PrivateIpAddress={address}");
    assert_eq!(bench.say(&create("10.0.1.100")), "OK");
    for (address, answer) in [
        (
            "10.0.1.100",
            "InvalidIPAddress.InUse: Address 10.0.1.100 is in use.",
        ),
        (
            "10.0.1.10",
            "InvalidIPAddress.InUse: Address 10.0.1.10 is in use.",
        ),
        (
            "10.0.2.5",
            "InvalidParameterValue: Address 10.0.2.5 does not fall within the subnet's address range",
        ),
        (
            "10.0.1.0",
            "InvalidParameterValue: Address 10.0.1.0 is in subnet's reserved address range",
        ),
        (
            "10.0.1.1",
            "InvalidParameterValue: Address 10.0.1.1 is in subnet's reserved address range",
        ),
        (
            "10.0.1.3",
            "InvalidParameterValue: Address 10.0.1.3 is in subnet's reserved address range",
        ),
        (
            "10.0.1.255",
            "InvalidParameterValue: Address 10.0.1.255 is in subnet's reserved address range",
        ),
        ("10.0.1.4", "OK"),
        ("10.0.1.254", "OK"),
        (
            "nonsense",
            "InvalidParameterValue: Invalid value 'nonsense' for PrivateIpAddress",
        ),
    ] {
        assert_eq!(bench.say(&create(address)), answer);
    }
}

#[test]
fn a_subnet_runs_out_of_addresses_and_not_below_zero() {
    let mut bench = Bench::instant();
    assert_eq!(bench.free(TINY), "11");
    for _ in 0..11 {
        bench.create(TINY);
    }
    assert_eq!(bench.free(TINY), "0");
    let create = format!("CreateNetworkInterface SubnetId={TINY}");
    let refusal = "InsufficientFreeAddressesInSubnet: The specified subnet does not have enough free addresses to satisfy the request.";
    assert_eq!(bench.say(&create), refusal);
    assert_eq!(
        bench.say(&format!(
            "CreateNetworkInterface SubnetId={SIX} SecondaryPrivateIpAddressCount=300"
        )),
        refusal
    );
    assert_eq!(
        (bench.free(TINY), bench.free(SIX)),
        ("0".to_owned(), "251".to_owned())
    );
}

#[test]
fn prefixes_are_assigned() {
    let mut bench = Bench::instant();
    let body = bench
        .ask(&format!(
            "CreateNetworkInterface SubnetId={SIX} Ipv4PrefixCount=2 Ipv6PrefixCount=1"
        ))
        .unwrap();
    assert_eq!(all(&body, "ipv4Prefix"), ["10.0.6.16/28", "10.0.6.32/28"]);
    assert_eq!(all(&body, "ipv6Prefix"), ["2001:db8:1:6:1::/80"]);
    // 251 − one address − two blocks of 16.
    assert_eq!(bench.free(SIX), "218");
    assert_eq!(
        bench.say(&format!("CreateNetworkInterface SubnetId={SIX} Ipv4PrefixCount=1 SecondaryPrivateIpAddressCount=1")),
        "InvalidParameterCombination: The parameter ipv4Prefixes cannot be used with the parameter secondaryPrivateIpAddressCount"
    );
    assert_eq!(
        bench.say(&format!(
            "CreateNetworkInterface SubnetId={TINY} Ipv4PrefixCount=1"
        )),
        "InsufficientCidrBlocks: The specified subnet does not have enough free cidr blocks to satisfy the request."
    );
    assert_eq!(bench.free(TINY), "11");
}

#[test]
fn an_interface_carries_no_more_addresses_than_its_instance_allows() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    bench.attach(&eni, I, 1);
    let assign = |what: &str| format!("AssignPrivateIpAddresses NetworkInterfaceId={eni} {what}");
    assert_eq!(
        all(
            &bench
                .ask(&assign("SecondaryPrivateIpAddressCount=3"))
                .unwrap(),
            "privateIpAddress"
        )
        .len(),
        3
    );
    let free = bench.free(A);
    let refusal = "PrivateIpAddressLimitExceeded: Number of private addresses will exceed limit.";
    assert_eq!(
        bench.say(&assign("SecondaryPrivateIpAddressCount=3")),
        refusal
    );
    assert_eq!(bench.free(A), free, "a refusal takes nothing");
    assert_eq!(
        bench.say(&assign("Ipv4PrefixCount=2")),
        "OK",
        "a prefix counts as one address"
    );
    let crowded = bench.get(
        &format!("CreateNetworkInterface SubnetId={A} SecondaryPrivateIpAddressCount=6"),
        "networkInterfaceId",
    );
    assert_eq!(bench.say(&attach(&crowded, I, 2)), refusal);
}

#[test]
fn addresses_are_assigned_and_unassigned() {
    let mut bench = Bench::instant();
    let eni = bench.get(
        &format!("CreateNetworkInterface SubnetId={A} PrivateIpAddress=10.0.1.60"),
        "networkInterfaceId",
    );
    let assign = |address: &str| {
        format!("AssignPrivateIpAddresses NetworkInterfaceId={eni} PrivateIpAddress.1={address}")
    };
    let unassign = |address: &str| {
        format!("UnassignPrivateIpAddresses NetworkInterfaceId={eni} PrivateIpAddress.1={address}")
    };
    assert_eq!(bench.say(&assign("10.0.1.61")), "OK");
    assert!(
        bench
            .say(&assign("10.0.1.10"))
            .starts_with("Resource.AlreadyAssigned: ")
    );
    assert_eq!(
        bench.say(&unassign("10.0.1.60")),
        "InvalidParameterValue: The primary private IP address of a network interface cannot be unassigned."
    );
    assert_eq!(
        bench.say(&unassign("10.0.1.77")),
        format!("InvalidParameterValue: Some of [10.0.1.77] are not assigned to interface {eni}")
    );
    assert_eq!(bench.say(&unassign("10.0.1.61")), "OK");
    let other = format!("CreateNetworkInterface SubnetId={A} PrivateIpAddress=10.0.1.61");
    assert_eq!(bench.say(&other), "OK", "what was given back is free");
}
