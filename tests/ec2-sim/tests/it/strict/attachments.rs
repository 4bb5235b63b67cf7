//! Who may be attached where, how often, and what becomes of it.

use crate::bench::{A, B, BIG, Bench, FOREIGN, I, MICRO, PENDING, STOPPED, attach, first};

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
