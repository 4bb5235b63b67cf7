//! Each of EC2's codes becomes its verdict, as a client reads it from the wire.

use std::collections::{BTreeMap, BTreeSet};

use ec2_sim::Effect;
use eniway_api::Asked;
use eniway_ec2::{
    Call::{self, *},
    Change, Ec2, Error, Instances, Interfaces, NewAttachment, RouteChange, RouteDeed, Subnets,
    Verdict::{self, *},
};

use crate::world::{INSTANCE, Wire, new_eni, spec, vpc};

/// The codes that EC2 documents and people met, with the call that gets them.
const CODES: &[(Call, &str, &str, Verdict)] = &[
    (
        AttachNetworkInterface,
        "RequestLimitExceeded",
        "",
        Throttled,
    ),
    (AttachNetworkInterface, "Throttling", "", Throttled),
    (AttachNetworkInterface, "ThrottlingException", "", Throttled),
    (AttachNetworkInterface, "RequestThrottled", "", Throttled),
    (
        AttachNetworkInterface,
        "EC2ThrottledException",
        "",
        Throttled,
    ),
    (
        AttachNetworkInterface,
        "Client.RequestLimitExceeded",
        "",
        Throttled,
    ),
    (CreateNetworkInterface, "InternalError", "", Transient),
    (CreateNetworkInterface, "InternalFailure", "", Transient),
    (DescribeInstances, "ServiceUnavailable", "", Transient),
    (DescribeInstanceTypes, "Unavailable", "", Transient),
    (CreateNetworkInterface, "ConcurrentTagAccess", "", Transient),
    (DescribeSubnets, "InvalidNextToken", "", Transient),
    (
        DescribeNetworkInterfaces,
        "InvalidPaginationToken",
        "",
        Transient,
    ),
    (DescribeSecurityGroups, "RequestExpired", "", Transient),
    (AttachNetworkInterface, "IncorrectInstanceState", "", Wait),
    (
        AttachNetworkInterface,
        "IncorrectState",
        "Instance 'i-00000001' is not 'running'.",
        Wait,
    ),
    (
        DeleteNetworkInterface,
        "InvalidParameterValue",
        "Network interface 'eni-00000001' is currently in use.",
        Wait,
    ),
    (
        AttachNetworkInterface,
        "InvalidNetworkInterface.InUse",
        "Interface: [eni-00000001] in use.",
        Wait,
    ),
    (DeleteNetworkInterface, "DependencyViolation", "", Wait),
    (
        AttachNetworkInterface,
        "InvalidParameterCombination",
        "You may not attach a network interface to an instance if they are not in the same \
         availability zone",
        Replan,
    ),
    (
        AttachNetworkInterface,
        "InvalidParameterValue",
        "Instance 'i-00000001' already has an interface attached at device index '1'.",
        Replan,
    ),
    (
        AttachNetworkInterface,
        "AttachmentLimitExceeded",
        "Interface count 4 exceeds the limit for t3.medium",
        Replan,
    ),
    (
        CreateNetworkInterface,
        "InsufficientFreeAddressesInSubnet",
        "",
        Replan,
    ),
    (CreateNetworkInterface, "InsufficientCidrBlocks", "", Replan),
    (CreateNetworkInterface, "InvalidIPAddress.InUse", "", Replan),
    (
        CreateNetworkInterface,
        "Resource.AlreadyAssigned",
        "",
        Replan,
    ),
    (
        CreateNetworkInterface,
        "PrivateIpAddressLimitExceeded",
        "",
        Replan,
    ),
    (
        AssignPrivateIpAddresses,
        "Resource.AlreadyAssigned",
        "",
        Replan,
    ),
    (AssignIpv6Addresses, "Ipv6AddressLimitExceeded", "", Replan),
    (
        UnassignPrivateIpAddresses,
        "InvalidParameterValue",
        "Some of [10.0.0.9] are not assigned to interface eni-00000001",
        Replan,
    ),
    (
        CreateNetworkInterface,
        "IdempotentParameterMismatch",
        "",
        Replan,
    ),
    (
        CreateNetworkInterface,
        "InvalidSubnetID.NotFound",
        "",
        Invalid,
    ),
    (CreateNetworkInterface, "InvalidGroup.NotFound", "", Invalid),
    (
        CreateNetworkInterface,
        "InvalidSecurityGroupID.NotFound",
        "",
        Invalid,
    ),
    (
        CreateNetworkInterface,
        "InvalidParameterValue",
        "Value () for",
        Invalid,
    ),
    (
        CreateNetworkInterface,
        "InvalidParameterCombination",
        "",
        Invalid,
    ),
    (CreateNetworkInterface, "MissingParameter", "", Invalid),
    (
        CreateNetworkInterface,
        "InvalidSubnetID.Malformed",
        "",
        Invalid,
    ),
    (
        ModifyNetworkInterfaceAttribute,
        "SecurityGroupsPerInterfaceLimitExceeded",
        "",
        Invalid,
    ),
    (CreateNetworkInterface, "TagLimitExceeded", "", Invalid),
    (
        DescribeNetworkInterfaces,
        "FilterLimitExceeded",
        "",
        Invalid,
    ),
    (CreateNetworkInterface, "UnauthorizedOperation", "", Denied),
    (DescribeInstances, "AuthFailure", "", Denied),
    (CreateNetworkInterface, "OptInRequired", "", Denied),
    (CreateNetworkInterface, "PendingVerification", "", Denied),
    (
        CreateNetworkInterface,
        "NetworkInterfaceLimitExceeded",
        "",
        Denied,
    ),
    (
        DetachNetworkInterface,
        "OperationNotPermitted",
        "You are not allowed to manage 'ela-attach' attachments.",
        Denied,
    ),
    (
        DeleteNetworkInterface,
        "InvalidNetworkInterfaceID.NotFound",
        "",
        AlreadyDone,
    ),
    (
        DetachNetworkInterface,
        "InvalidAttachmentID.NotFound",
        "",
        AlreadyDone,
    ),
    (
        AttachNetworkInterface,
        "InvalidNetworkInterfaceID.NotFound",
        "",
        Replan,
    ),
    (
        AttachNetworkInterface,
        "InvalidInstanceID.NotFound",
        "",
        Replan,
    ),
    (CreateRoute, "RouteAlreadyExists", "", Replan),
    (
        ReplaceRoute,
        "InvalidParameterValue",
        "There is no route defined for '10.9.0.0/16' in the route table. Use CreateRoute instead.",
        Replan,
    ),
    (
        ReplaceRoute,
        "InvalidNetworkInterfaceID.NotFound",
        "",
        Replan,
    ),
    (AssociateAddress, "Resource.AlreadyAssociated", "", Replan),
    (AssociateAddress, "InvalidAllocationID.NotFound", "", Replan),
    (AssociateAddress, "Gateway.NotAttached", "", Invalid),
    (
        DisassociateAddress,
        "InvalidAssociationID.NotFound",
        "",
        AlreadyDone,
    ),
    (DeleteRoute, "InvalidRoute.NotFound", "", AlreadyDone),
    (CreateRoute, "InvalidRouteTableID.NotFound", "", Invalid),
    (CreateRoute, "RouteLimitExceeded", "", Denied),
];

fn route(deed: RouteDeed) -> RouteChange {
    RouteChange {
        table: "rtb-00000001".into(),
        destination: "10.9.0.0/16".parse().unwrap(),
        deed,
    }
}

/// Makes the call with operands that do not matter: its answer is decided.
async fn refusal(ec2: &impl Ec2, call: Call) -> Error {
    let eni = "eni-00000001".into();
    let attachment = NewAttachment {
        eni: "eni-00000001".into(),
        instance: INSTANCE.into(),
        device_index: 1,
        network_card_index: 0,
        ena_queue_count: None,
    };
    let ipv4 = Asked {
        secondary: 1,
        ..Asked::default()
    };
    let ipv6 = Asked {
        ipv6: 1,
        ..Asked::default()
    };
    let answer = match call {
        DescribeInstances => ec2.instances(&Instances::Of(vpc())).await.map(drop),
        DescribeInstanceTypes => ec2.instance_types(&["m5.large".to_owned()]).await.map(drop),
        DescribeNetworkInterfaces => {
            let all = Interfaces::OfCluster("uid".to_owned());
            ec2.interfaces(&all).await.map(drop)
        }
        DescribeSecurityGroups => ec2.groups(&vpc()).await.map(drop),
        DescribeSubnets => ec2.subnets(&Subnets::Of(vpc())).await.map(drop),
        DescribeAddresses => ec2.elastic_ips().await.map(drop),
        AssociateAddress => {
            let address = "eipalloc-00000001".into();
            ec2.associate(&address, &eni).await.map(drop)
        }
        DisassociateAddress => ec2.disassociate(&"eipassoc-00000001".into()).await,
        DescribeRouteTables => ec2.route_tables(&vpc()).await.map(drop),
        CreateRoute => ec2.route(&route(RouteDeed::Create(eni))).await,
        ReplaceRoute => ec2.route(&route(RouteDeed::Replace(eni))).await,
        DeleteRoute => ec2.route(&route(RouteDeed::Delete)).await,
        CreateNetworkInterface => ec2.create(&new_eni("uid-1")).await.map(drop),
        AttachNetworkInterface => ec2.attach(&attachment).await.map(drop),
        ModifyNetworkInterfaceAttribute => ec2.modify(&eni, &Change::SourceDestCheck(true)).await,
        DetachNetworkInterface => ec2.detach(&"eni-attach-00000001".into(), false).await,
        DeleteNetworkInterface => ec2.delete(&eni).await,
        CreateTags => {
            ec2.tag(
                &eni,
                &BTreeMap::from([("team".to_owned(), "net".to_owned())]),
            )
            .await
        }
        AssignPrivateIpAddresses => ec2.assign(&eni, &ipv4).await.map(drop),
        AssignIpv6Addresses => ec2.assign(&eni, &ipv6).await.map(drop),
        UnassignPrivateIpAddresses => {
            let entries = BTreeSet::from(["10.0.0.9/32".parse().unwrap()]);
            ec2.unassign(&eni, &entries).await
        }
        UnassignIpv6Addresses => {
            let entries = BTreeSet::from(["fd00::9/128".parse().unwrap()]);
            ec2.unassign(&eni, &entries).await
        }
        DeleteTags => ec2.untag(&eni, &BTreeSet::from(["team".to_owned()])).await,
    };
    answer.unwrap_err()
}

#[tokio::test]
async fn each_code_becomes_its_verdict() {
    let wire = Wire::start(spec()).await;
    for &(call, code, message, verdict) in CODES {
        let effect = Effect::Error {
            code: code.to_owned(),
            message: message.to_owned(),
            status: None,
        };
        wire.spoil(call, effect);
        let error = refusal(&wire.ec2, call).await;
        assert_eq!(error.code(), Some(code), "{error:?}");
        assert_eq!(error.call(), call);
        assert_eq!(error.verdict(), verdict, "{error}");
    }
}

#[tokio::test]
async fn every_call_can_be_refused() {
    let wire = Wire::start(spec()).await;
    for call in Call::ALL {
        wire.spoil(call, Effect::Throttle);
        let error = refusal(&wire.ec2, call).await;
        assert_eq!((error.call(), error.verdict()), (call, Throttled));
    }
}
