//! The number of ENA queues goes with the attachment, follows the wish, and is told where nobody chooses.

use ec2_sim::Interface;
use serde_json::json;

use super::{SUBNET_B, rig::Rig, spec};

fn queues(eni: &Interface) -> Option<u32> {
    eni.attachment.as_ref()?.ena_queues
}

#[test]
fn the_number_goes_with_the_attachment_and_follows_the_wish() {
    Rig::new(1).on("m6i.4xlarge").run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        wish["enaQueueCount"] = json!(4);
        rig.wish("queues", &wish).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        assert_eq!(queues(&rig.ours()[0]), Some(4));
        let changes = || rig.calls("ModifyNetworkInterfaceAttribute");
        rig.until("deleteOnTermination is set", |_| changes() == 1)
            .await;
        let reads = rig.calls("DescribeInstances") + 2;
        rig.until("EC2 was read again", |_| {
            rig.calls("DescribeInstances") >= reads
        })
        .await;
        assert_eq!(changes(), 1, "the attachment brought it");
        wish["enaQueueCount"] = json!(16);
        rig.wish("queues", &wish).await;
        rig.until_world("it is changed", |enis| queues(&enis[0]) == Some(16))
            .await;
        rig.until("the record says so", |state| {
            state.records.values().all(|record| {
                let status = record.status.as_ref();
                let ec2 = status.and_then(|status| status.ec2.as_ref());
                ec2.and_then(|ec2| ec2.ena_queue_count) == Some(16)
            })
        })
        .await;
        assert_eq!(changes(), 2);
        wish["enaQueueCount"] = json!(17);
        rig.wish("queues", &wish).await;
        rig.until("it says how many there are", |state| {
            let conditions = state.status("queues").conditions;
            let told = conditions
                .iter()
                .any(|one| one.message.contains("16 ENA queues at most"));
            state.reason("queues") == "EnaQueuesNotAvailable" && told
        })
        .await;
        assert_eq!(queues(&rig.ours()[0]), Some(16));
        controller.stop().await;
    });
}

#[test]
fn where_nobody_chooses_the_interface_comes_without_and_that_is_told() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        wish["enaQueueCount"] = json!(4);
        rig.wish("queues", &wish).await;
        rig.until("it is attached, and the condition says why not", |state| {
            state.attached() == 1 && state.reason("queues") == "EnaQueuesNotAvailable"
        })
        .await;
        assert_eq!(queues(&rig.ours()[0]), None);
        controller.stop().await;
    });
}
