//! What a user reads when a wish cannot be fulfilled, and that nothing was made for it.

use serde_json::json;

use super::{SUBNET_A, SUBNET_B, SUBNET_SMALL, process::patient, rig::Rig, spec};

fn refuses(wish: &serde_json::Value, reason: &str) {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.wish("bad", wish).await;
        rig.until(reason, |state| state.reason("bad") == reason)
            .await;
        assert_eq!(rig.ours().len(), 0);
        assert_eq!(rig.calls("CreateNetworkInterface"), 0);
        controller.stop().await;
    });
}

#[test]
fn a_subnet_that_does_not_exist_is_named() {
    refuses(&spec(&["subnet-00000bad"]), "SubnetNotFound");
}

#[test]
fn a_subnet_of_another_vpc_is_not_found() {
    refuses(&spec(&["subnet-0000000f"]), "SubnetNotFound");
}

#[test]
fn a_subnet_of_another_zone_is_refused_before_anything_is_made() {
    // node1 is in zone b.
    refuses(&spec(&[SUBNET_A]), "SubnetInOtherZone");
}

#[test]
fn a_name_that_two_subnets_bear_is_refused() {
    let mut wish = spec(&[]);
    wish["subnetNames"] = json!(["twice"]);
    refuses(&wish, "SubnetAmbiguous");
}

#[test]
fn a_group_that_does_not_exist_is_named() {
    let mut wish = spec(&[SUBNET_B]);
    wish["securityGroupNames"] = json!(["nobody"]);
    refuses(&wish, "SecurityGroupNotFound");
}

#[test]
fn a_node_without_a_provider_id_is_waited_for() {
    Rig::new(1).run(async |rig| {
        rig.node("bare", None).await;
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        wish["nodeSelector"] = json!({"name": "bare"});
        rig.wish("waits", &wish).await;
        rig.until("it says why", |state| {
            state.reason("waits") == "NodeWithoutInstance"
        })
        .await;
        controller.stop().await;
    });
}

#[test]
fn a_full_instance_gets_no_interface_that_it_cannot_hold() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        // m5.large holds three; one is the primary.
        for name in ["one", "two", "three"] {
            rig.wish(name, &spec(&[SUBNET_B])).await;
        }
        rig.until("two are attached", |state| state.attached() == 2)
            .await;
        rig.until("the third says why", |state| {
            ["one", "two", "three"]
                .iter()
                .any(|name| state.reason(name) == "InstanceLimitReached")
        })
        .await;
        assert_eq!(rig.calls("CreateNetworkInterface"), 2);
        controller.stop().await;
    });
}

#[test]
fn a_full_subnet_is_named_and_used_once_an_address_is_free() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller_at(patient());
        rig.until_it_has_read_ec2().await;
        // The snapshot still shows eleven free addresses: EC2 has to refuse.
        let others = rig.fill(SUBNET_SMALL);
        rig.wish("full", &spec(&[SUBNET_SMALL])).await;
        rig.until("it says why", |state| state.reason("full") == "SubnetFull")
            .await;
        assert_eq!(rig.ours().len(), 0);
        rig.delete(&others[0]);
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        assert_eq!(rig.ours().len(), 1);
        controller.stop().await;
    });
}
