//! What an interface is made of: its type, groups, tags, and what depends on it.

use crate::bench::{A, Bench, I, SIX, all, attach, first};

#[test]
fn an_unknown_security_group_is_not_made() {
    let mut bench = Bench::instant();
    let create = |groups: &str| format!("CreateNetworkInterface SubnetId={A} {groups}");
    for (groups, answer) in [
        ("SecurityGroupId.1=sg-00000002", "OK".to_owned()),
        (
            "SecurityGroupId.1=sg-0000dead",
            "InvalidGroup.NotFound: The security group 'sg-0000dead' does not exist".to_owned(),
        ),
        (
            "SecurityGroupId.1=sg-00000009",
            format!(
                "InvalidParameter: Security group sg-00000009 and subnet {A} belong to different networks."
            ),
        ),
        (
            "SecurityGroupId.1=web",
            "InvalidGroupId.Malformed: Invalid id: \"web\" (expecting \"sg-...\")".to_owned(),
        ),
    ] {
        assert_eq!(bench.say(&create(groups)), answer);
    }
}

#[test]
fn the_interface_type_is_kept() {
    let mut bench = Bench::instant();
    let eni = bench.get(
        &format!("CreateNetworkInterface SubnetId={A} InterfaceType=efa"),
        "networkInterfaceId",
    );
    let found = "DescribeNetworkInterfaces Filter.1.Name=interface-type Filter.1.Value.1=efa";
    assert_eq!(bench.get(found, "networkInterfaceId"), eni);
    assert!(
        bench
            .say(&attach(&eni, I, 1))
            .starts_with("InvalidParameterCombination: ")
    );
}

#[test]
fn groups_are_the_interfaces_own_and_are_replaced() {
    let mut bench = Bench::instant();
    let eni = bench.get(
        &format!("CreateNetworkInterface SubnetId={A} SecurityGroupId.1=sg-00000002"),
        "networkInterfaceId",
    );
    bench.attach(&eni, I, 1);
    let describe = format!("DescribeNetworkInterfaces NetworkInterfaceId.1={eni}");
    assert_eq!(
        all(&bench.ask(&describe).unwrap(), "groupId"),
        ["sg-00000002"]
    );
    assert_eq!(
        bench.say(&format!(
            "ModifyNetworkInterfaceAttribute NetworkInterfaceId={eni} SecurityGroupId.1=sg-00000001"
        )),
        "OK"
    );
    assert_eq!(
        all(&bench.ask(&describe).unwrap(), "groupId"),
        ["sg-00000001"]
    );
}

#[test]
fn tags_obey_their_rules_and_go_with_the_interface() {
    let mut bench = Bench::instant();
    let create = format!(
        "CreateNetworkInterface SubnetId={A} TagSpecification.1.ResourceType=network-interface \
         TagSpecification.1.Tag.1.Key=team TagSpecification.1.Tag.1.Value=core"
    );
    let eni = bench.get(&create, "networkInterfaceId");
    let by_tag = "DescribeNetworkInterfaces Filter.1.Name=tag:team Filter.1.Value.1=core";
    assert_eq!(bench.get(by_tag, "networkInterfaceId"), eni);
    let tag = |key: &str| format!("CreateTags ResourceId.1={eni} Tag.1.Key={key} Tag.1.Value=1");
    assert_eq!(
        bench.say(&tag("aws:x")),
        "InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use"
    );
    for number in 0..49 {
        assert_eq!(bench.say(&tag(&format!("k{number}"))), "OK");
    }
    assert_eq!(
        bench.say(&tag("one-more")),
        "TagLimitExceeded: More than 50 tags specified"
    );
    assert_eq!(
        bench.say(&tag("k1")),
        "OK",
        "a key that is there may be written again"
    );
    assert_eq!(
        bench.say(&format!(
            "DeleteTags ResourceId.1={eni} Tag.1.Key=team Tag.1.Value=other"
        )),
        "OK"
    );
    assert_eq!(
        bench.get(by_tag, "networkInterfaceId"),
        eni,
        "another value stays"
    );
    assert_eq!(
        bench.say(&format!("DeleteTags ResourceId.1={eni} Tag.1.Key=team")),
        "OK"
    );
    assert_eq!(
        first(&bench.ask(by_tag).unwrap(), "networkInterfaceId"),
        None
    );
    assert_eq!(
        bench.say(&format!("DeleteNetworkInterface NetworkInterfaceId={eni}")),
        "OK"
    );
    assert!(
        bench
            .say(&tag("k1"))
            .starts_with("InvalidNetworkInterfaceID.NotFound: ")
    );
}

#[test]
fn filters_of_attachments_and_all_addresses_work() {
    let mut bench = Bench::instant();
    let eni = bench.get(
        &format!("CreateNetworkInterface SubnetId={SIX} SecondaryPrivateIpAddressCount=1 Ipv6AddressCount=1 Description=d"),
        "networkInterfaceId",
    );
    let attachment = bench.attach(&eni, I, 1);
    let describe = format!("DescribeNetworkInterfaces NetworkInterfaceId.1={eni}");
    let body = bench.ask(&describe).unwrap();
    let value = |element: &str| first(&body, element).unwrap().to_owned();
    let secondary = all(&body, "privateIpAddress").last().unwrap().to_string();
    for (filter, wanted) in [
        ("attachment.attachment-id", attachment),
        ("attachment.delete-on-termination", "false".to_owned()),
        ("attachment.device-index", "1".to_owned()),
        ("attachment.instance-id", I.to_owned()),
        ("attachment.status", "attached".to_owned()),
        ("private-dns-name", value("privateDnsName")),
        ("ipv6-addresses.ipv6-address", value("ipv6Address")),
        ("operator.managed", "false".to_owned()),
        ("addresses.private-ip-address", secondary),
        ("mac-address", value("macAddress")),
        ("description", "?".to_owned()),
        ("subnet-id", "subnet-*06".to_owned()),
    ] {
        let hit = format!("{describe} Filter.1.Name={filter} Filter.1.Value.1={wanted}");
        assert_eq!(
            bench.get(&hit, "networkInterfaceId"),
            eni,
            "{filter}={wanted}"
        );
        let miss = format!("{describe} Filter.1.Name={filter} Filter.1.Value.1=something-else");
        assert_eq!(
            first(&bench.ask(&miss).unwrap(), "networkInterfaceId"),
            None,
            "{filter}"
        );
    }
    assert_eq!(
        bench.say("DescribeNetworkInterfaces Filter.1.Name=colour Filter.1.Value.1=red"),
        "InvalidParameterValue: The filter 'colour' is invalid"
    );
}

#[test]
fn what_an_interface_depends_on_is_not_deleted() {
    let mut bench = Bench::instant();
    let create = format!("CreateNetworkInterface SubnetId={SIX} SecurityGroupId.1=sg-00000002");
    let eni = bench.get(&create, "networkInterfaceId");
    let delete_subnet = format!("DeleteSubnet SubnetId={SIX}");
    let delete_group = "DeleteSecurityGroup GroupId=sg-00000002";
    assert_eq!(
        bench.say(&delete_subnet),
        format!("DependencyViolation: The subnet '{SIX}' has dependencies and cannot be deleted.")
    );
    assert_eq!(
        bench.say(delete_group),
        "DependencyViolation: resource sg-00000002 has a dependent object"
    );
    bench.say(&format!("DeleteNetworkInterface NetworkInterfaceId={eni}"));
    assert_eq!(
        (bench.say(&delete_subnet), bench.say(delete_group)),
        ("OK".into(), "OK".into())
    );
    assert!(bench.say(&create).starts_with("InvalidSubnetID.NotFound: "));
}
