//! The whole controller against a real API server and the simulated EC2: life, bad input, faults, and
//! death at every step. Needs root.

mod kill;
mod rig;

use std::time::Duration;

use ec2_sim::{Effect, Fault, Settings};
use serde_json::json;

use self::rig::Rig;

const SUBNET_A: &str = "subnet-0000000a";
const SUBNET_B: &str = "subnet-0000000b";

fn spec(subnets: &[&str]) -> serde_json::Value {
    json!({
        "nodeSelector": {"ng": "multi-eni"},
        "subnetIDs": subnets,
        "securityGroupNames": ["multus"],
    })
}

#[test]
fn a_node_eni_becomes_an_attached_interface_and_goes_again() {
    Rig::new(2).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_A, SUBNET_B]);
        wish["subnetPolicy"] = json!("MatchZone");
        wish["sourceDestCheck"] = json!(false);
        wish["tags"] = json!({"team": "packets"});
        rig.wish("first", &wish).await;
        rig.until("both nodes have one", |state| state.attached() == 2)
            .await;
        for eni in rig.ours() {
            assert!(eni.attachment.as_ref().unwrap().delete_on_termination);
            assert!(!eni.source_dest_check);
            assert_eq!(eni.tags["team"], "packets");
            assert_eq!(eni.tags["node.k8s.amazonaws.com/no_manage"], "true");
            assert_eq!(eni.tags["NodeENI"], "first");
            assert_eq!(
                eni.tags["kubernetes.io/cluster/managed-by"],
                "nodeeni-controller"
            );
        }
        // Create, attach, deleteOnTermination, sourceDestCheck: nothing else, and nothing twice.
        assert_eq!(rig.calls("CreateNetworkInterface"), 2);
        assert_eq!(rig.calls("AttachNetworkInterface"), 2);
        assert_eq!(rig.calls("ModifyNetworkInterfaceAttribute"), 4);
        // Counts come at once, the list when it is due.
        rig.until("the status says so", |state| {
            let status = state.status("first");
            let listed: Vec<_> = status.attachments.iter().map(|a| &*a.status).collect();
            status.attached == 2 && listed == ["attached", "attached"]
        })
        .await;
        let status = rig.state().await.status("first");
        assert_eq!((status.nodes, status.desired), (2, 2));

        rig.unwish("first").await;
        rig.until("nothing is left", |state| {
            state.node_enis.is_empty() && state.records.is_empty()
        })
        .await;
        assert_eq!(rig.ours().len(), 0);
        controller.stop().await;
    });
}

#[test]
fn a_node_that_loses_its_label_loses_its_interface() {
    Rig::new(2).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_A, SUBNET_B]);
        wish["subnetPolicy"] = json!("MatchZone");
        rig.wish("label", &wish).await;
        rig.until("both are attached", |state| state.attached() == 2)
            .await;
        rig.unlabel("node1").await;
        rig.until("one is left", |state| state.records.len() == 1)
            .await;
        assert_eq!(rig.ours().len(), 1);
        controller.stop().await;
    });
}

#[test]
fn a_terminated_instance_takes_its_interface_along() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.wish("ends", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        rig.terminate("node1").await;
        rig.until("its record is gone", |state| state.records.is_empty())
            .await;
        assert_eq!(rig.ours().len(), 0);
        controller.stop().await;
    });
}

#[test]
fn changes_of_a_wish_reach_the_interface() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.wish("changes", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let id = rig.ours()[0].id.clone();
        let mut wish = spec(&[SUBNET_B]);
        wish["sourceDestCheck"] = json!(false);
        wish["deleteOnTermination"] = json!(false);
        wish["description"] = json!("changed");
        rig.wish("changes", &wish).await;
        rig.until_world("EC2 follows", |enis| {
            enis.iter().all(|eni| {
                !eni.source_dest_check
                    && eni.description == "changed"
                    && eni
                        .attachment
                        .as_ref()
                        .is_some_and(|a| !a.delete_on_termination)
            })
        })
        .await;
        assert_eq!(rig.ours()[0].id, id, "it is the same interface");
        controller.stop().await;
    });
}

#[test]
fn an_interface_deleted_by_hand_is_made_anew() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.wish("again", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let old = rig.ours()[0].id.clone();
        rig.destroy(&old);
        rig.until_world("another is attached", |enis| {
            enis.iter()
                .any(|eni| eni.id != old && eni.status() == "in-use")
        })
        .await;
        assert_eq!(rig.ours().len(), 1);
        controller.stop().await;
    });
}

/// What a user reads when a wish cannot be fulfilled, and that nothing was made for it.
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

/// A fault costs time and nothing else.
fn survives(fault: Fault) {
    Rig::new(1).run(async |rig| {
        rig.fault(fault);
        let controller = rig.controller();
        rig.wish("faulty", &spec(&[SUBNET_B])).await;
        rig.until("it is attached all the same", |state| state.attached() == 1)
            .await;
        assert_eq!(rig.ours().len(), 1);
        rig.unwish("faulty").await;
        rig.until("nothing is left", |state| state.records.is_empty())
            .await;
        assert_eq!(rig.ours().len(), 0);
        controller.stop().await;
    });
}

#[test]
fn throttling_costs_time_only() {
    survives(Fault::next("AttachNetworkInterface", 2, Effect::Throttle));
}

#[test]
fn an_html_page_costs_time_only() {
    survives(Fault::next(
        "CreateNetworkInterface",
        1,
        Effect::Html { status: 500 },
    ));
}

#[test]
fn a_create_whose_answer_is_lost_makes_one_interface() {
    survives(Fault::next(
        "CreateNetworkInterface",
        1,
        Effect::ConnectionLostAfter,
    ));
}

#[test]
fn an_attach_whose_answer_is_lost_attaches_once() {
    survives(Fault::next(
        "AttachNetworkInterface",
        1,
        Effect::ConnectionLostAfter,
    ));
}

#[test]
fn a_lost_answer_to_any_other_call_costs_time_only() {
    for action in [
        "ModifyNetworkInterfaceAttribute",
        "DetachNetworkInterface",
        "DeleteNetworkInterface",
    ] {
        survives(Fault::next(action, 1, Effect::ConnectionLostAfter));
    }
}

#[test]
fn a_second_controller_waits_for_the_first() {
    Rig::new(1).run(async |rig| {
        let first = rig.elected("first");
        rig.wish("led", &spec(&[SUBNET_B])).await;
        rig.until("the first leads", |state| state.attached() == 1)
            .await;
        let second = rig.elected("second");
        first.stop().await;
        rig.unwish("led").await;
        rig.until("the second goes on", |state| state.records.is_empty())
            .await;
        second.stop().await;
    });
}

#[test]
fn while_the_peer_is_at_work_nothing_is_changed() {
    Rig::new(1).run(async |rig| {
        rig.peer_renews().await;
        let controller = rig.controller();
        rig.wish("peer", &spec(&[SUBNET_B])).await;
        rig.until("it says so", |state| {
            state.reason("peer") == "OtherControllerActive"
        })
        .await;
        assert_eq!(rig.ours().len(), 0);
        assert!(rig.state().await.records.is_empty());
        controller.stop().await;
    });
}

#[test]
fn stuck_attachments_and_slow_answers_end_well() {
    Rig::with(
        1,
        Settings {
            read_lag_ms: Duration::from_millis(300),
            ..Settings::default()
        },
    )
    .run(async |rig| {
        rig.fault(Fault::next(
            "CreateNetworkInterface",
            1,
            Effect::Delay {
                ms: Duration::from_secs(6),
            },
        ));
        let controller = rig.controller();
        rig.wish("slow", &spec(&[SUBNET_B])).await;
        rig.until("one is attached", |state| state.attached() == 1)
            .await;
        assert_eq!(rig.ours().len(), 1);
        controller.stop().await;
    });
}
