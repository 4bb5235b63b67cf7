//! Elastic IPs come with an interface, are its own while it lives, and go back before it goes.

use ec2_sim::{Effect, EniId, Fault, Interface, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    SUBNET_B,
    kill::Life,
    rig::{Rig, Running, State},
    spec,
    switch::Switch,
};

const FIRST: &str = "eipalloc-00000001";
const SECOND: &str = "eipalloc-00000002";
const THIRD: &str = "eipalloc-00000003";

fn wish(elastic_ip: Value) -> Value {
    let mut wish = spec(&[SUBNET_B]);
    wish["subnetPolicy"] = json!("MatchZone");
    wish["elasticIP"] = elastic_ip;
    wish
}

fn one(id: &str) -> Value {
    wish(json!({"allocationIDs": [id]}))
}

/// The Elastic IP of an interface's primary address.
fn of(eni: &Interface) -> Option<String> {
    let association = eni.public.get(eni.addresses.first()?)?;
    Some(association.allocation.to_string())
}

/// What has an Elastic IP.
fn holder(rig: &Running, id: &str) -> Option<EniId> {
    let world = rig.door.world();
    let mut all = world.elastic_ips();
    let found = all.find(|one| one.id.as_str() == id)?;
    Some(found.association.as_ref()?.interface.clone())
}

/// What the records say: chosen, with an association or without.
fn chosen(state: &State) -> Vec<(String, bool)> {
    let records = state.records.values();
    let chosen = records.filter_map(|record| {
        let claim = record.status.as_ref()?.ec2.as_ref()?.elastic_ip.clone()?;
        Some((
            claim.allocation_id.to_string(),
            claim.association_id.is_some(),
        ))
    });
    chosen.collect()
}

/// Somebody else gives an interface an Elastic IP.
fn associate(rig: &Running, id: &str, eni: &EniId) {
    let request = Request::new("AssociateAddress")
        .with("AllocationId", id)
        .with("NetworkInterfaceId", eni);
    rig.door.world().call(&request, Timestamp::now()).unwrap();
}

#[test]
fn an_interface_gets_a_free_one_with_the_tags_and_gives_it_back() {
    Rig::new(1).run(async |rig| {
        let taken = rig.attach_for_another("node1", SUBNET_B, 1);
        associate(rig, FIRST, &taken);
        let controller = rig.controller();
        rig.wish("edge", &wish(json!({"tags": {"tier": "edge"}})))
            .await;
        rig.until("the record says which one it is", |state| {
            chosen(state) == [(SECOND.to_owned(), true)]
        })
        .await;
        let state = rig.state().await;
        let told = state.records.values().next().unwrap().status.clone();
        let told = told.unwrap().ec2.unwrap().public_ip.unwrap();
        assert_eq!(told.to_string(), "203.0.113.2");
        assert_eq!(of(&rig.ours()[0]).as_deref(), Some(SECOND));
        rig.until_event("ElasticIPAssociated").await;
        // The test's own, and one.
        assert_eq!(rig.calls("AssociateAddress"), 2);

        rig.unwish("edge").await;
        rig.until("nothing is left", |state| state.records.is_empty())
            .await;
        assert_eq!(rig.calls("DisassociateAddress"), 1);
        assert_eq!(holder(rig, SECOND), None);
        assert_eq!(holder(rig, FIRST), Some(taken), "it is not ours");
        controller.stop().await;
    });
}

#[test]
fn each_is_of_one_interface_and_the_next_node_gets_it_when_that_is_gone() {
    Rig::new(3).run(async |rig| {
        let controller = rig.controller();
        // node1 and node3 are in its zone.
        rig.wish("fixed", &one(FIRST)).await;
        rig.until("both are attached", |state| state.attached() == 2)
            .await;
        rig.until(
            "one has it, and the other says that none is free",
            |state| {
                let waits = state.records.values().any(|record| {
                    let status = record.status.as_ref();
                    let conditions = status.map(|status| status.conditions.as_slice());
                    let mut conditions = conditions.unwrap_or_default().iter();
                    conditions.any(|one| one.reason == "NoFreeElasticIP")
                });
                chosen(state) == [(FIRST.to_owned(), true)] && waits
            },
        )
        .await;
        let first = holder(rig, FIRST).unwrap();
        let eni = rig.ours().into_iter().find(|eni| eni.id == first).unwrap();
        let at = eni.attachment.unwrap().instance.to_string();
        let node = if at.ends_with('1') { "node1" } else { "node3" };
        rig.unlabel(node).await;
        rig.until_door("the other one has it", |world| {
            let mut ours = world.interfaces();
            ours.any(|eni| eni.id != first && of(eni).as_deref() == Some(FIRST))
        })
        .await;
        assert_eq!(rig.calls("AssociateAddress"), 2);
        controller.stop().await;
    });
}

#[test]
fn one_that_another_has_is_never_taken_and_a_changed_wish_is_followed() {
    Rig::new(1).run(async |rig| {
        let taken = rig.attach_for_another("node1", SUBNET_B, 1);
        associate(rig, FIRST, &taken);
        let controller = rig.controller();
        rig.wish("fixed", &one(FIRST)).await;
        rig.until("it says that none is free", |state| {
            state.reason("fixed") == "NoFreeElasticIP"
        })
        .await;
        rig.wish("fixed", &one("eipalloc-0000dead")).await;
        rig.until("it says that there is none", |state| {
            state.reason("fixed") == "ElasticIPNotFound"
        })
        .await;
        for id in [SECOND, THIRD] {
            rig.wish("fixed", &one(id)).await;
            rig.until_world("it has what is asked for", |enis| {
                of(&enis[0]).as_deref() == Some(id)
            })
            .await;
        }
        assert_eq!(holder(rig, SECOND), None);
        assert_eq!(holder(rig, FIRST), Some(taken));
        let mut none = one(THIRD);
        none.as_object_mut().unwrap().remove("elasticIP");
        rig.wish("fixed", &none).await;
        rig.until("it is free, and nothing is chosen", |state| {
            chosen(state).is_empty() && holder(rig, THIRD).is_none()
        })
        .await;
        controller.stop().await;
    });
}

#[test]
fn what_is_taken_off_by_hand_comes_back_and_what_is_given_by_hand_stays() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.wish("fixed", &one(FIRST)).await;
        let has = |id: &'static str| move |enis: &[Interface]| of(&enis[0]).as_deref() == Some(id);
        rig.until("it has it", |state| {
            chosen(state) == [(FIRST.to_owned(), true)]
        })
        .await;
        let eni = rig.ours()[0].clone();
        let association = eni.public.values().next().unwrap().id.clone();
        rig.call("DisassociateAddress", "AssociationId", association);
        rig.until_world("it is back", has(FIRST)).await;

        // EC2 lets the new one take the place of the old one.
        associate(rig, SECOND, &eni.id);
        rig.until("it says that somebody else did that", |state| {
            state.reason("fixed") == "ElasticIPForeign" && chosen(state).is_empty()
        })
        .await;
        assert!(has(SECOND)(&rig.ours()));
        controller.stop().await;
    });
}

#[test]
fn who_may_not_read_them_is_told_and_the_rest_goes_on() {
    Rig::new(1).run(async |rig| {
        let denied = Effect::Error {
            code: "UnauthorizedOperation".to_owned(),
            message: "You are not authorized to perform this operation.".to_owned(),
            status: Some(403),
        };
        rig.fault(Fault::always("DescribeAddresses", denied));
        let controller = rig.controller();
        rig.wish("fixed", &one(FIRST)).await;
        rig.until("it says what it may not", |state| {
            state.reason("fixed") == "NotAuthorized" && state.attached() == 1
        })
        .await;
        rig.wish("plain", &spec(&[SUBNET_B])).await;
        rig.until("another is attached", |state| state.attached() == 2)
            .await;
        controller.stop().await;
    });
}

#[test]
fn a_controller_killed_at_any_step_gives_one_and_gets_it_back() {
    Rig::new(1).run(async |rig| {
        let wish = wish(json!({"allocationIDs": [FIRST, SECOND]}));
        let mut step = 0;
        loop {
            let mut died = false;
            for before in [true, false] {
                let mut life = Life::begin(rig, Switch::at(step, before));
                let name = format!("life-{step}-{before}");
                rig.wish(&name, &wish).await;
                let has_one = |state: &State| chosen(state) == [(FIRST.to_owned(), true)];
                life.until("it has one", has_one).await;
                assert_eq!(holder(rig, SECOND), None, "step {step}, before: {before}");
                rig.unwish(&name).await;
                life.until("nothing is left", |state| {
                    state.records.is_empty() && state.node_enis.is_empty()
                })
                .await;
                assert_eq!(holder(rig, FIRST), None, "step {step}, before: {before}");
                assert!(rig.ours().is_empty(), "step {step}, before: {before}");
                if let Some(successor) = life.successor {
                    successor.stop().await;
                }
                died |= life.switch.pulled.is_cancelled();
            }
            if !died {
                break;
            }
            step += 1;
        }
        println!("killed before and after each of {step} steps");
        assert!(step > 13, "only {step} steps: the switch is not in the way");
    });
}
