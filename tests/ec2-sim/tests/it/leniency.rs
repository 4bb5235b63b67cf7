//! Every way in which a well-known mock is more lenient than EC2: here the simulator must refuse.

use crate::bench::{
    A, B, BIG, Bench, FOREIGN, I, MICRO, PENDING, SIX, STOPPED, TINY, all, attach, first,
};

#[test]
fn an_attached_interface_is_not_deleted() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    bench.attach(&eni, I, 1);
    let refusal = format!("InvalidParameterValue: Network interface '{eni}' is currently in use.");
    assert_eq!(
        bench.say(&format!("DeleteNetworkInterface NetworkInterfaceId={eni}")),
        refusal
    );
}

#[test]
fn an_attached_interface_is_not_attached_again() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    bench.attach(&eni, I, 1);
    for instance in [I, STOPPED] {
        assert_eq!(
            bench.say(&attach(&eni, instance, 2)),
            format!("InvalidNetworkInterface.InUse: Interface: [{eni}] in use.")
        );
    }
}

#[test]
fn an_occupied_index_is_refused() {
    let mut bench = Bench::instant();
    let (one, two) = (bench.create(A), bench.create(A));
    bench.attach(&one, I, 1);
    for index in [0, 1] {
        let refusal = format!(
            "InvalidParameterValue: Instance '{I}' already has an interface attached at device index '{index}'."
        );
        assert_eq!(bench.say(&attach(&two, I, index)), refusal);
    }
    assert_eq!(bench.status(&one), "in-use/attached");
}

#[test]
fn another_zone_is_refused() {
    let mut bench = Bench::instant();
    let eni = bench.create(B);
    assert_eq!(
        bench.say(&attach(&eni, I, 1)),
        "InvalidParameterCombination: You may not attach a network interface to an instance if they are not in the same availability zone"
    );
}

#[test]
fn another_vpc_is_refused_unless_it_is_allowed() {
    let mut bench = Bench::instant();
    let eni = bench.create(FOREIGN);
    assert!(
        bench
            .say(&attach(&eni, I, 1))
            .starts_with("InvalidParameterCombination: ")
    );
    bench.world.settings.multi_vpc = true;
    assert_eq!(bench.say(&attach(&eni, I, 1)), "OK");
}

#[test]
fn the_limit_of_the_type_holds() {
    let mut bench = Bench::instant();
    for (instance, limit, name) in [(MICRO, 2, "t3.micro"), (I, 3, "t3.medium")] {
        for index in 1..limit {
            let eni = bench.create(A);
            bench.attach(&eni, instance, index);
        }
        let eni = bench.create(A);
        let refusal = format!(
            "AttachmentLimitExceeded: Interface count {} exceeds the limit for {name}",
            limit + 1
        );
        assert_eq!(bench.say(&attach(&eni, instance, limit)), refusal);
    }
}

#[test]
fn every_network_card_has_its_own_indexes_and_limit() {
    let mut bench = Bench::instant();
    let on_card = |eni: &str, card: u32, index: u32| {
        format!("{} NetworkCardIndex={card}", attach(eni, BIG, index))
    };
    for card in [0, 1, 31] {
        let eni = bench.create(A);
        assert_eq!(bench.say(&on_card(&eni, card, 1)), "OK");
        let body = bench
            .ask(&format!(
                "DescribeNetworkInterfaces NetworkInterfaceId.1={eni}"
            ))
            .unwrap();
        assert_eq!(
            first(&body, "networkCardIndex"),
            Some(card.to_string().as_str())
        );
    }
    let eni = bench.create(A);
    assert_eq!(
        bench.say(&on_card(&eni, 32, 1)),
        "InvalidParameterValue: Network card index '32' is not valid for the instance type 'p5.48xlarge'."
    );
    assert_eq!(
        bench.say(&on_card(&eni, 0, 2)),
        "AttachmentLimitExceeded: Interface count 3 exceeds the limit for network card 0 of p5.48xlarge"
    );
}

#[test]
fn only_running_and_stopped_instances_take_an_interface() {
    let mut bench = Bench::with(ec2_sim::Settings::default());
    let eni = bench.create(A);
    assert_eq!(
        bench.say(&attach(&eni, PENDING, 1)),
        format!("IncorrectInstanceState: The instance '{PENDING}' is in the 'pending' state.")
    );
    let refusal = format!("IncorrectState: Instance '{MICRO}' is not 'running'.");
    assert_eq!(
        bench.say(&format!("TerminateInstances InstanceId.1={MICRO}")),
        "OK"
    );
    assert_eq!(bench.state(MICRO), "shutting-down");
    assert_eq!(bench.say(&attach(&eni, MICRO, 1)), refusal);
    bench.wait(100);
    assert_eq!(bench.state(MICRO), "terminated");
    assert_eq!(bench.say(&attach(&eni, MICRO, 1)), refusal);
    assert_eq!(bench.say(&attach(&eni, STOPPED, 1)), "OK");
    assert_eq!(bench.status(&eni), "in-use/attached");
}

#[test]
fn a_client_token_makes_one_interface() {
    let mut bench = Bench::instant();
    let create = format!("CreateNetworkInterface SubnetId={A} ClientToken=t1");
    let eni = bench.get(&create, "networkInterfaceId");
    assert_eq!(bench.get(&create, "networkInterfaceId"), eni);
    assert_eq!(
        bench.say(&format!(
            "CreateNetworkInterface SubnetId={B} ClientToken=t1"
        )),
        "IdempotentParameterMismatch: The request uses the same client token as a previous, but non-identical request."
    );
    assert_eq!(
        bench.say(&format!("DeleteNetworkInterface NetworkInterfaceId={eni}")),
        "OK"
    );
    // Burnt: the old answer, and no interface.
    assert_eq!(bench.get(&create, "networkInterfaceId"), eni);
    assert_eq!(bench.status(&eni), "gone");
    let other = bench.get(
        &format!("CreateNetworkInterface SubnetId={A} ClientToken=t2"),
        "networkInterfaceId",
    );
    assert_ne!(other, eni);
}

#[test]
fn a_client_token_makes_one_instance() {
    let mut bench = Bench::instant();
    let run = format!(
        "RunInstances ImageId=ami-1 MinCount=1 MaxCount=1 InstanceType=m5.large SubnetId={A} ClientToken=r1"
    );
    let instance = bench.get(&run, "instanceId");
    assert_eq!(bench.get(&run, "instanceId"), instance);
}

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
fn delete_on_termination_is_set_and_wants_the_right_attachment() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    let attachment = bench.attach(&eni, I, 1);
    let modify = |attachment: &str| {
        format!(
            "ModifyNetworkInterfaceAttribute NetworkInterfaceId={eni} Attachment.AttachmentId={attachment} \
             Attachment.DeleteOnTermination=true"
        )
    };
    let stranger = "eni-attach-0000dead";
    assert_eq!(
        bench.say(&modify(stranger)),
        format!(
            "InvalidAttachmentID.NotFound: The interface attachment '{stranger}' does not exist."
        )
    );
    let describe = format!("DescribeNetworkInterfaces NetworkInterfaceId.1={eni}");
    assert_eq!(bench.get(&describe, "deleteOnTermination"), "false");
    assert_eq!(bench.say(&modify(&attachment)), "OK");
    assert_eq!(bench.get(&describe, "deleteOnTermination"), "true");
}

#[test]
fn one_call_modifies_one_attribute() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    let modify =
        |what: &str| format!("ModifyNetworkInterfaceAttribute NetworkInterfaceId={eni} {what}");
    assert_eq!(
        bench.say(&modify("SourceDestCheck.Value=false Description.Value=x")),
        "InvalidParameterCombination: Fields for multiple attribute types specified."
    );
    assert_eq!(
        bench.say(&modify("")),
        "InvalidParameterCombination: No attributes specified."
    );
    assert_eq!(bench.say(&modify("SourceDestCheck.Value=false")), "OK");
    assert_eq!(bench.say(&modify("Description.Value=x")), "OK");
    let body = bench
        .ask(&format!(
            "DescribeNetworkInterfaces NetworkInterfaceId.1={eni}"
        ))
        .unwrap();
    assert_eq!(
        (first(&body, "sourceDestCheck"), first(&body, "description")),
        (Some("false"), Some("x"))
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
fn termination_frees_or_deletes_what_was_attached() {
    let mut bench = Bench::instant();
    let (stays, goes) = (bench.create(A), bench.create(A));
    bench.attach(&stays, I, 1);
    let attachment = bench.attach(&goes, I, 2);
    assert_eq!(
        bench.say(&format!(
            "ModifyNetworkInterfaceAttribute NetworkInterfaceId={goes} Attachment.AttachmentId={attachment} \
             Attachment.DeleteOnTermination=true"
        )),
        "OK"
    );
    let primary = bench.get(
        &format!("DescribeInstances InstanceId.1={I}"),
        "networkInterfaceId",
    );
    assert_eq!(
        bench.say(&format!("TerminateInstances InstanceId.1={I}")),
        "OK"
    );
    assert_eq!(bench.state(I), "terminated");
    assert_eq!(
        (
            bench.status(&stays),
            bench.status(&goes),
            bench.status(&primary)
        ),
        ("available".into(), "gone".into(), "gone".into())
    );
}

#[test]
fn the_primary_interface_is_not_detached() {
    let mut bench = Bench::instant();
    let describe = format!("DescribeInstances InstanceId.1={I}");
    let attachment = bench.get(&describe, "attachmentId");
    for force in ["false", "true"] {
        assert_eq!(
            bench.say(&format!(
                "DetachNetworkInterface AttachmentId={attachment} Force={force}"
            )),
            "OperationNotPermitted: The network interface at device index 0 and networkCard index 0 cannot be detached."
        );
    }
    assert_eq!(bench.get(&describe, "attachmentId"), attachment);
}

#[test]
fn malformed_and_unknown_ids_have_their_own_codes() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    for (call, answer) in [
        (
            "DeleteNetworkInterface NetworkInterfaceId=eni-xyz",
            "InvalidNetworkInterfaceId.Malformed: Invalid id: \"eni-xyz\" (expecting \"eni-...\")",
        ),
        (
            "DeleteNetworkInterface NetworkInterfaceId=eni-0000dead",
            "InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-0000dead' does not exist",
        ),
        (
            "DescribeNetworkInterfaces NetworkInterfaceId.1=eni-0000dead",
            "InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-0000dead' does not exist",
        ),
        (
            "CreateNetworkInterface SubnetId=subnet-1",
            "InvalidSubnetID.Malformed: Invalid id: \"subnet-1\" (expecting \"subnet-...\")",
        ),
        (
            "CreateNetworkInterface SubnetId=subnet-0000dead",
            "InvalidSubnetID.NotFound: The subnet ID 'subnet-0000dead' does not exist",
        ),
        (
            "DescribeSubnets SubnetId.1=subnet-0000dead",
            "InvalidSubnetID.NotFound: The subnet ID 'subnet-0000dead' does not exist",
        ),
        (
            "DescribeSecurityGroups GroupId.1=sg-0000dead",
            "InvalidGroup.NotFound: The security group 'sg-0000dead' does not exist",
        ),
        (
            "DescribeVpcs VpcId.1=vpc-0000dead",
            "InvalidVpcID.NotFound: The vpc ID 'vpc-0000dead' does not exist",
        ),
        (
            "DescribeInstances InstanceId.1=i-zz",
            "InvalidInstanceID.Malformed: Invalid id: \"i-zz\" (expecting \"i-...\")",
        ),
        (
            "DescribeInstances InstanceId.1=i-0000dead",
            "InvalidInstanceID.NotFound: The instance ID 'i-0000dead' does not exist",
        ),
        (
            "DescribeInstances InstanceId.1=i-0000dead InstanceId.2=i-0000beef",
            "InvalidInstanceID.NotFound: The instance IDs 'i-0000dead, i-0000beef' do not exist",
        ),
        (
            "DetachNetworkInterface AttachmentId=eni-attach-x",
            "InvalidNetworkInterfaceAttachmentId.Malformed: Invalid id: \"eni-attach-x\" (expecting \"eni-attach-...\")",
        ),
        (
            "DetachNetworkInterface AttachmentId=eni-attach-0000dead",
            "InvalidAttachmentID.NotFound: The interface attachment 'eni-attach-0000dead' does not exist.",
        ),
        (
            "DescribeInstanceTypes InstanceType.1=t9.huge",
            "InvalidInstanceType: The following supplied instance types do not exist: [t9.huge]",
        ),
        (
            "DetachNetworkInterface",
            "MissingParameter: The request must contain the parameter attachmentId",
        ),
        (
            "FlyToTheMoon",
            "InvalidAction: The action FlyToTheMoon is not valid for this web service.",
        ),
    ] {
        assert_eq!(bench.say(call), answer, "{call}");
    }
    assert_eq!(
        bench.say(&attach(&eni, "i-0000dead", 1)),
        "InvalidInstanceID.NotFound: The instance ID 'i-0000dead' does not exist"
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
fn a_dry_run_tells_and_does_nothing() {
    let mut bench = Bench::instant();
    let eni = bench.create(A);
    let attachment = bench.attach(&eni, I, 1);
    let told = "DryRunOperation: Request would have succeeded, but DryRun flag is set.";
    assert_eq!(
        bench.say(&format!(
            "DetachNetworkInterface AttachmentId={attachment} DryRun=true"
        )),
        told
    );
    assert_eq!(
        bench.say(&format!(
            "DeleteNetworkInterface NetworkInterfaceId={eni} DryRun=true"
        )),
        told
    );
    assert_eq!(
        bench.say("CreateNetworkInterface SubnetId=subnet-0000000a DryRun=true"),
        told
    );
    assert_eq!(bench.status(&eni), "in-use/attached");
    assert!(
        bench
            .say("DetachNetworkInterface AttachmentId=eni-attach-0000dead DryRun=true")
            .starts_with("InvalidAttachmentID.NotFound")
    );
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
