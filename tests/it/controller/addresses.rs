//! Addresses and prefixes that a user asks for come, change, and go; those of others stay.

use std::collections::BTreeSet;

use ec2_sim::Interface;
use serde_json::json;

use super::{SUBNET_B, SUBNET_SMALL, process::patient, rig::Rig, spec, switch::Switch};

/// How many an interface has of each kind, the primary address left out.
fn kinds(eni: &Interface) -> [usize; 4] {
    [
        eni.addresses.len() - 1,
        eni.prefixes.len(),
        eni.ipv6_addresses.len(),
        eni.ipv6_prefixes.len(),
    ]
}

#[test]
fn they_come_with_the_interface_and_follow_the_wish() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        wish["ipv4"] = json!({"secondaryCount": 2});
        wish["ipv6"] = json!({"addressCount": 1});
        rig.wish("addressed", &wish).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let before = rig.ours()[0].clone();
        assert_eq!(kinds(&before), [2, 0, 1, 0]);
        assert_eq!(
            rig.calls("AssignPrivateIpAddresses"),
            0,
            "they cost no call"
        );
        rig.until("the record says which are ours", |state| {
            let assigned = state.records.values().map(|record| {
                let ec2 = record.status.as_ref()?.ec2.as_ref()?;
                Some((
                    ec2.assigned.len(),
                    ec2.assigning.is_none(),
                    ec2.addresses.len(),
                ))
            });
            assigned.flatten().eq([(3, true, 4)])
        })
        .await;

        // A sidecar takes an address of its own.
        rig.assign_by_hand(&before.id);
        let sidecars = *rig.ours()[0].addresses.last().unwrap();
        wish["ipv4"] = json!({"prefixCount": 1});
        wish["ipv6"] = json!({"addressCount": 2, "prefixCount": 1});
        rig.wish("addressed", &wish).await;
        rig.until_world("EC2 follows", |enis| kinds(&enis[0]) == [1, 1, 2, 1])
            .await;
        let after = rig.ours()[0].clone();
        assert_eq!(after.id, before.id, "it is the same interface");
        assert_eq!(after.addresses, [before.addresses[0], sidecars]);
        rig.until("the agent is told", |state| {
            state.records.values().all(|record| {
                let ec2 = record.status.as_ref().unwrap().ec2.as_ref().unwrap();
                ec2.prefixes.len() == 2 && ec2.addresses.len() == 4 && ec2.assigning.is_none()
            })
        })
        .await;
        assert_eq!(
            rig.calls("AssignPrivateIpAddresses"),
            2,
            "one of ours, one by hand"
        );

        for said in ["ipv4", "ipv6"] {
            wish.as_object_mut().unwrap().remove(said);
        }
        wish["description"] = json!("observed");
        rig.wish("addressed", &wish).await;
        rig.until_world("the wish is followed", |enis| {
            enis[0].description == "observed"
        })
        .await;
        assert_eq!(
            kinds(&rig.ours()[0]),
            kinds(&after),
            "what is only observed is not changed"
        );
        controller.stop().await;
    });
}

#[test]
fn an_address_that_somebody_takes_off_comes_back() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        wish["ipv4"] = json!({"addresses": ["10.0.12.50", "10.0.12.51"]});
        rig.wish("fixed", &wish).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let eni = rig.ours()[0].clone();
        let has = |enis: &[Interface]| enis[0].addresses.contains(&"10.0.12.50".parse().unwrap());
        assert!(has(&rig.ours()));
        rig.unassign_by_hand(&eni.id, "10.0.12.50");
        assert!(!has(&rig.ours()));
        rig.until_world("it is back", has).await;
        assert_eq!(kinds(&rig.ours()[0]), [2, 0, 0, 0]);
        controller.stop().await;
    });
}

#[test]
fn an_address_is_on_one_node_and_the_next_one_gets_it_when_that_is_done() {
    Rig::new(3).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        // node1 and node3 are in its zone.
        wish["subnetPolicy"] = json!("MatchZone");
        wish["ipv4"] = json!({"addresses": ["10.0.12.50"]});
        rig.wish("fixed", &wish).await;
        rig.until("both are attached", |state| state.attached() == 2)
            .await;
        rig.until("it says which address is taken", |state| {
            let mut holders = Vec::new();
            let mut told = String::new();
            for (name, record) in &state.records {
                let status = record.status.clone().unwrap_or_default();
                let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
                match ready.filter(|ready| ready.reason == "AddressTaken") {
                    Some(ready) => told.clone_from(&ready.message),
                    None => holders.push(name),
                }
            }
            holders.len() == 1 && told.contains(holders[0]) && told.contains("10.0.12.50")
        })
        .await;
        let address = "10.0.12.50".parse().unwrap();
        let holder = |enis: &[Interface]| {
            let holding = enis.iter().filter(|eni| eni.addresses.contains(&address));
            let at: Vec<_> = holding
                .map(|eni| eni.attachment.as_ref().unwrap().instance.to_string())
                .collect();
            assert!(at.len() < 2, "an address is on one interface");
            at.first().cloned()
        };
        let first = holder(&rig.ours()).unwrap();
        let node = if first.ends_with('1') {
            "node1"
        } else {
            "node3"
        };
        rig.unlabel(node).await;
        rig.until_world("the other one has it", |enis| {
            enis.len() == 1 && holder(enis).is_some_and(|at| at != first)
        })
        .await;
        controller.stop().await;
    });
}

/// A wish that nothing is made for, and the reason that its user reads.
fn refuses(subnet: &str, ipv4: &serde_json::Value, reason: &str, word: &str) {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[subnet]);
        wish["ipv4"] = ipv4.clone();
        rig.wish("bad", &wish).await;
        rig.until(reason, |state| {
            let conditions = state.status("bad").conditions;
            let told = conditions.iter().any(|one| one.message.contains(word));
            state.reason("bad") == reason && told
        })
        .await;
        assert_eq!(rig.calls("CreateNetworkInterface"), 0);
        controller.stop().await;
    });
}

#[test]
fn more_than_the_instance_type_holds_is_not_asked_for() {
    refuses(
        SUBNET_B,
        &json!({"secondaryCount": 10}),
        "AddressLimitReached",
        "m5.large",
    );
}

#[test]
fn a_prefix_takes_sixteen_addresses_of_its_subnet() {
    refuses(
        SUBNET_SMALL,
        &json!({"prefixCount": 1}),
        "SubnetFull",
        "not 17",
    );
}

#[test]
fn an_address_outside_its_subnets_is_told() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        let mut wish = spec(&[SUBNET_B]);
        wish["ipv4"] = json!({"addresses": ["10.9.9.9"]});
        rig.wish("astray", &wish).await;
        rig.until("it is told", |state| {
            state.reason("astray") == "AddressOutsideSubnets" && state.attached() == 1
        })
        .await;
        controller.stop().await;
    });
}

#[test]
fn a_controller_killed_while_it_changes_addresses_changes_them_once() {
    Rig::new(1).run(async |rig| {
        let wish = |ipv4: serde_json::Value| {
            let mut wish = spec(&[SUBNET_B]);
            wish["ipv4"] = ipv4;
            wish
        };
        let few = wish(json!({"secondaryCount": 1}));
        let many = wish(json!({"secondaryCount": 4}));
        let mut steps = BTreeSet::new();
        for step in 0.. {
            let mut died = false;
            for before in [true, false] {
                let name = format!("change-{step}-{before}");
                let controller = rig.controller();
                rig.wish(&name, &few).await;
                rig.until("it is attached", |state| state.attached() == 1)
                    .await;
                rig.until_assigned(1).await;
                controller.stop().await;

                let switch = Switch::at(step, before);
                let mortal = rig.mortal(&switch);
                rig.wish(&name, &many).await;
                let lived = tokio::select! {
                    () = rig.until_assigned(4) => true,
                    () = switch.pulled.cancelled() => false,
                };
                drop(mortal);
                let controller = rig.controller();
                rig.until_assigned(4).await;
                assert_eq!(
                    kinds(&rig.ours()[0]),
                    [4, 0, 0, 0],
                    "step {step}, before: {before}"
                );
                rig.unwish(&name).await;
                rig.until("nothing is left", |state| state.records.is_empty())
                    .await;
                controller.stop().await;
                died |= !lived;
                if !lived {
                    steps.insert(step);
                }
            }
            if !died {
                break;
            }
        }
        println!("killed before and after each of {} steps", steps.len());
        assert!(
            steps.len() >= 4,
            "only {steps:?}: the switch is not in the way"
        );
    });
}

#[test]
fn a_call_whose_answer_is_lost_is_not_made_twice() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller_at(patient());
        let mut wish = spec(&[SUBNET_B]);
        wish["ipv4"] = json!({"secondaryCount": 1});
        rig.wish("lost", &wish).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        rig.until_assigned(1).await;
        let fault = ec2_sim::Fault::next(
            "AssignPrivateIpAddresses",
            1,
            ec2_sim::Effect::ConnectionLostAfter,
        );
        rig.fault(fault);
        wish["ipv4"] = json!({"secondaryCount": 3});
        rig.wish("lost", &wish).await;
        rig.until_assigned(3).await;
        assert_eq!(kinds(&rig.ours()[0]), [3, 0, 0, 0]);
        assert_eq!(rig.calls("AssignPrivateIpAddresses"), 1);
        controller.stop().await;
    });
}
