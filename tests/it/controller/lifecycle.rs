//! An interface comes, changes and goes, as its NodeENI, its node and its instance do.

use serde_json::json;

use super::{SUBNET_A, SUBNET_B, process::patient, rig::Rig, spec};

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
fn a_terminated_instance_takes_its_interface_along_before_the_next_whole_read() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller_at(patient());
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
fn the_last_node_goes_while_nobody_leads_and_its_record_follows() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.wish("last", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        controller.stop().await;
        rig.terminate("node1").await;
        // No instance tells of the network any more.
        let next = rig.controller();
        rig.until("its record is gone", |state| state.records.is_empty())
            .await;
        assert_eq!(rig.ours().len(), 0);
        next.stop().await;
    });
}

#[test]
fn an_instance_that_starts_gets_its_interface_before_the_next_whole_read() {
    let settings = ec2_sim::Settings {
        start_ms: std::time::Duration::from_secs(10),
        ..ec2_sim::Settings::default()
    };
    Rig::with(1, settings).run(async |rig| {
        rig.stop_and_start("node1").await;
        let controller = rig.controller_at(patient());
        rig.wish("early", &spec(&[SUBNET_B])).await;
        rig.until("it says what it waits for", |state| {
            state.reason("early") == "InstancePending"
        })
        .await;
        assert_eq!(rig.calls("CreateNetworkInterface"), 0);
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
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

#[test]
fn a_retained_interface_is_detached_and_stays() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        wish["deletionPolicy"] = json!("Retain");
        rig.wish("kept", &wish).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let before = rig.ours()[0].clone();
        assert!(!before.attachment.unwrap().delete_on_termination);
        rig.unwish("kept").await;
        rig.until("no object is left", |state| {
            state.node_enis.is_empty() && state.records.is_empty()
        })
        .await;
        let ours = rig.ours();
        assert_eq!((ours.len(), &ours[0].id), (1, &before.id));
        assert_eq!(ours[0].status(), "available");
        assert_eq!(ours[0].tags["eniway.io/role"], "retained");
        rig.until_event("ENIRetained").await;
        controller.stop().await;
    });
}
