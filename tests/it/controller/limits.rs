//! How many interfaces an instance holds, and on which of its network cards.

use ec2_sim::{Effect, Fault, Interface};
use serde_json::json;

use super::{SUBNET_B, rig::Rig, spec};

/// Card and index.
fn place(eni: &Interface) -> Option<(u32, u32)> {
    let slot = eni.attachment.as_ref()?.slot;
    Some((slot.card, slot.index))
}

#[test]
fn an_interface_goes_on_the_network_card_that_is_asked_for() {
    Rig::new(1).on("p4d.24xlarge").run(async |rig| {
        let controller = rig.controller();
        for card in [0, 3] {
            let mut wish = spec(&[SUBNET_B]);
            wish["networkCardIndex"] = json!(card);
            rig.wish(&format!("card{card}"), &wish).await;
        }
        let mut wish = spec(&[SUBNET_B]);
        wish["networkCardIndex"] = json!(4);
        rig.wish("beyond", &wish).await;
        rig.until("two are attached", |state| state.attached() == 2)
            .await;
        rig.until("the third says what is wrong", |state| {
            let status = state.status("beyond");
            let mut conditions = status.conditions.iter();
            conditions.any(|one| one.message.contains("has 4 network cards"))
        })
        .await;
        // Each card counts its indexes anew.
        let mut places: Vec<_> = rig.ours().iter().filter_map(place).collect();
        places.sort_unstable();
        assert_eq!(places, [(0, 1), (3, 1)]);
        let state = rig.state().await;
        let mut told: Vec<_> = state
            .records
            .values()
            .filter_map(|record| record.status.as_ref()?.ec2.as_ref()?.network_card_index)
            .collect();
        told.sort_unstable();
        assert_eq!(told, [0, 3]);
        controller.stop().await;
    });
}

#[test]
fn limits_that_ec2_does_not_tell_are_known_all_the_same() {
    Rig::new(1).run(async |rig| {
        let denied = Effect::Error {
            code: "UnauthorizedOperation".to_owned(),
            message: "You are not authorized to perform this operation.".to_owned(),
            status: Some(403),
        };
        rig.fault(Fault::always("DescribeInstanceTypes", denied));
        let controller = rig.controller();
        rig.wish("first", &spec(&[SUBNET_B])).await;
        rig.wish("second", &spec(&[SUBNET_B])).await;
        rig.wish("third", &spec(&[SUBNET_B])).await;
        rig.until("the third finds the instance full", |state| {
            let full = ["first", "second", "third"]
                .iter()
                .filter(|name| state.reason(name) == "InstanceLimitReached");
            state.attached() == 2 && full.count() == 1
        })
        .await;
        assert_eq!(rig.calls("CreateNetworkInterface"), 2);
        controller.stop().await;
    });
}
