//! What every request obeys: IDs, tokens, dry runs, one attribute a call.

use crate::bench::{A, B, Bench, I, attach, first};

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
