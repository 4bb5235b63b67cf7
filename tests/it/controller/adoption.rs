//! Interfaces of aws-multi-eni-controller become ours without being detached. Needs root.

use eniway_api::mark;
use eniway_controller::Config;
use serde_json::json;

use super::{
    SUBNET_A, SUBNET_B, SUBNET_SMALL,
    kill::Life,
    process::config,
    rig::{Rig, Running, State},
    spec,
    switch::Switch,
};

/// A NodeENI as J left it on node1: its status, its finalizer, and an interface that has no security
/// group of the wish.
async fn left_by_the_peer(rig: &Running, name: &str) -> ec2_sim::EniId {
    rig.wish(name, &spec(&[SUBNET_B])).await;
    let eni = rig.attach_as_the_peer_does(name, "node1", SUBNET_B, 1);
    rig.list_as_the_peer_does(name, "node1", &eni).await;
    eni
}

/// The interface, once it is attached.
async fn attached(rig: &Running, id: &ec2_sim::EniId) -> ec2_sim::Interface {
    let is = |eni: &ec2_sim::Interface| eni.status() == "in-use";
    rig.until_door("it is attached", |world| {
        world.interface(id).is_some_and(is)
    })
    .await;
    rig.door.world().interface(id).unwrap().clone()
}

/// Calls that an adoption never makes.
fn torn(rig: &Running) -> u64 {
    let actions = [
        "CreateNetworkInterface",
        "AttachNetworkInterface",
        "DetachNetworkInterface",
        "DeleteNetworkInterface",
    ];
    actions.iter().map(|action| rig.calls(action)).sum()
}

fn condition<'a>(state: &'a State, name: &str, type_: &str) -> Option<&'a str> {
    let conditions = &state.node_enis.get(name)?.status.as_ref()?.conditions;
    let found = conditions.iter().find(|one| one.type_ == type_);
    found.map(|one| one.message.as_str())
}

#[test]
fn what_the_peer_made_becomes_ours_and_goes_with_its_node_eni() {
    Rig::new(1).run(async |rig| {
        let theirs = left_by_the_peer(rig, "moved").await;
        rig.peer_renews().await;
        let before = attached(rig, &theirs).await;
        let controller = rig.controller();
        rig.until("it says that the peer is at work", |state| {
            let says = condition(state, "moved", "Ready").unwrap_or_default();
            says.contains("kubectl -n eni-controller-system scale deployment eni-controller")
        })
        .await;
        let reads = rig.calls("DescribeInstances");
        rig.until("EC2 was read twice more", |_| {
            rig.calls("DescribeInstances") >= reads + 2
        })
        .await;
        assert!(rig.state().await.records.is_empty());
        assert_eq!(rig.door.world().interface(&theirs), Some(&before));

        rig.peer_falls_silent().await;
        rig.until("it is ours, and listed as before", |state| {
            let listed = state.status("moved").attachments;
            let ids: Vec<_> = listed
                .iter()
                .filter_map(|one| one.eni_id.as_ref())
                .collect();
            state.attached() == 1 && ids.len() == 1 && ids[0].as_str() == theirs.as_str()
        })
        .await;
        let groups = ["sg-00000001"];
        rig.until_world("what differs is brought in line", |enis| {
            let ids: Vec<_> = enis[0]
                .groups
                .iter()
                .map(ec2_sim::GroupId::as_str)
                .collect();
            let attachment = enis[0].attachment.as_ref().unwrap();
            ids == groups && attachment.delete_on_termination
        })
        .await;
        assert_eq!(torn(rig), 0, "nothing was made, attached or taken away");
        let ours = rig.ours();
        assert_eq!((ours.len(), &ours[0].id), (1, &theirs));
        assert_eq!(ours[0].attachment.as_ref().unwrap().slot.index, 1);
        for (key, value) in &before.tags {
            assert_eq!(&ours[0].tags[key], value, "the peer's tags stay");
        }

        rig.unwish("moved").await;
        rig.until("nothing is left", |state| {
            state.records.is_empty() && state.node_enis.is_empty()
        })
        .await;
        assert_eq!(rig.door.world().interface(&theirs), None);
        controller.stop().await;
    });
}

/// An adoption, and the NodeENI's end, with a controller that dies at `step`.
async fn die_once(rig: &Running, step: usize, before: bool) -> bool {
    let name = format!("moved-{step}-{before}");
    let theirs = left_by_the_peer(rig, &name).await;
    let calls = torn(rig);
    let mut life = Life::begin(rig, Switch::at(step, before));
    life.until("it is adopted", |state| state.attached() == 1)
        .await;
    let ours = rig.ours();
    assert_eq!((ours.len(), &ours[0].id), (1, &theirs), "step {step}");
    assert_eq!(torn(rig), calls, "step {step}, before: {before}");
    rig.unwish(&name).await;
    life.until("nothing is left", |state| {
        state.records.is_empty() && state.node_enis.is_empty()
    })
    .await;
    assert_eq!(rig.door.world().interface(&theirs), None, "step {step}");
    if let Some(successor) = life.successor {
        successor.stop().await;
    }
    life.switch.pulled.is_cancelled()
}

#[test]
fn a_controller_killed_at_any_step_adopts_and_makes_nothing() {
    Rig::new(1).run(async |rig| {
        let mut step = 0;
        while die_once(rig, step, true).await {
            die_once(rig, step, false).await;
            step += 1;
        }
        println!("killed before and after each of {step} steps");
        assert!(step > 7, "only {step} steps: the switch is not in the way");
    });
}

#[test]
fn what_is_not_the_peers_to_give_is_left_alone_and_named() {
    Rig::new(1).run(async |rig| {
        // One is marked by another cluster, one bears no tag of the peer.
        rig.wish("other", &spec(&[SUBNET_B])).await;
        let marked = rig.attach_as_the_peer_does("other", "node1", SUBNET_B, 1);
        rig.tag(&marked, mark::TAG_CLUSTER_UID, "another-cluster");
        rig.list_as_the_peer_does("other", "node1", &marked).await;
        rig.wish("bare", &spec(&[SUBNET_SMALL])).await;
        let untagged = rig.attach_for_another("node1", SUBNET_SMALL, 2);
        rig.list_in("bare", "node1", SUBNET_SMALL, &untagged).await;
        let before = [attached(rig, &marked).await, attached(rig, &untagged).await];
        let controller = rig.controller();
        rig.until("it says why", |state| {
            let says = |name| condition(state, name, "Ready").unwrap_or_default();
            says("other").contains("another cluster")
                && says("bare").contains("lacks the tag")
                && state.reason("other") == "AdoptionRequired"
        })
        .await;
        let reads = rig.calls("DescribeInstances");
        rig.until("EC2 was read thrice more", |_| {
            rig.calls("DescribeInstances") >= reads + 3
        })
        .await;
        let after = [attached(rig, &marked).await, attached(rig, &untagged).await];
        assert_eq!(after, before);
        assert_eq!(torn(rig), 0);

        // A person says that it is the peer's.
        rig.tag(
            &untagged,
            mark::peer::TAG_MANAGED_BY,
            mark::peer::MANAGED_BY,
        );
        rig.tag(&untagged, mark::peer::TAG_NODE_ENI, "bare");
        rig.until("it is adopted", |state| state.attached() == 1)
            .await;
        assert_eq!(rig.ours()[0].id, untagged);
        controller.stop().await;
    });
}

#[test]
fn of_two_node_enis_that_list_one_interface_one_adopts_it_and_the_other_says_so() {
    Rig::new(1).run(async |rig| {
        let theirs = left_by_the_peer(rig, "maker").await;
        rig.wish("copy", &spec(&[SUBNET_B])).await;
        rig.list_as_the_peer_does("copy", "node1", &theirs).await;
        let controller = rig.controller();
        rig.until("one has it, and the other says so", |state| {
            let says = condition(state, "copy", "Ready").unwrap_or_default();
            state.attached() == 1
                && state.status("maker").attached == 1
                && state.reason("copy") == "AdoptionRequired"
                && says.contains("NodeENI maker has adopted it")
        })
        .await;
        assert_eq!(torn(rig), 0);
        rig.unwish("maker").await;
        rig.until("the other gets one of its own", |state| {
            state.node_enis.len() == 1 && state.attached() == 1
        })
        .await;
        assert_eq!(rig.door.world().interface(&theirs), None);
        controller.stop().await;
    });
}

#[test]
fn what_nobody_asks_for_any_more_is_named_and_stays() {
    Rig::new(2).run(async |rig| {
        // The subnet has left the list, and node2 the selector.
        let mut wish = spec(&[SUBNET_SMALL]);
        wish["nodeSelector"] = json!({"name": "node1"});
        rig.wish("shrunk", &wish).await;
        let dropped = rig.attach_as_the_peer_does("shrunk", "node1", SUBNET_B, 1);
        rig.list_as_the_peer_does("shrunk", "node1", &dropped).await;
        let mut elsewhere = wish.clone();
        elsewhere["nodeSelector"] = json!({"name": "nobody"});
        rig.wish("moved", &elsewhere).await;
        let elsewhere = rig.attach_as_the_peer_does("moved", "node2", SUBNET_A, 1);
        rig.list_in("moved", "node2", SUBNET_A, &elsewhere).await;
        let controller = rig.controller();
        rig.until("both are named, and what is asked for is there", |state| {
            let says = |name| condition(state, name, "UnclaimedInterfaces").unwrap_or_default();
            says("shrunk").contains(dropped.as_str())
                && says("moved").contains(elsewhere.as_str())
                && state.attached() == 1
        })
        .await;
        rig.until_event("AdoptionRequired").await;
        assert_eq!(rig.calls("DetachNetworkInterface"), 0);
        assert_eq!(rig.index_of(&dropped), Some(1));
        assert_eq!(rig.index_of(&elsewhere), Some(1));

        wish["subnetIDs"] = json!([SUBNET_SMALL, SUBNET_B]);
        rig.wish("shrunk", &wish).await;
        rig.until("what is asked for again is adopted", |state| {
            state.attached() == 2 && condition(state, "shrunk", "UnclaimedInterfaces").is_none()
        })
        .await;
        assert!(rig.ours().iter().any(|eni| eni.id == dropped));
        controller.stop().await;
    });
}

#[test]
fn without_adoption_nothing_of_the_peer_is_touched() {
    Rig::new(1).run(async |rig| {
        let theirs = left_by_the_peer(rig, "kept").await;
        let before = attached(rig, &theirs).await;
        let controller = rig.controller_at(Config {
            adopt: false,
            ..config()
        });
        rig.until("it says so", |state| {
            state.reason("kept") == "AdoptionRequired"
        })
        .await;
        let state = rig.state().await;
        assert!(state.records.is_empty());
        assert_eq!(attached(rig, &theirs).await, before);
        assert_eq!(state.status("kept").attachments.len(), 1, "it stays listed");
        controller.stop().await;
    });
}
