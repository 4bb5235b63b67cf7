//! Routes of the VPC follow the interfaces of a NodeENI, and those of others stay. Needs root.

use ec2_sim::{EniId, Request, Target};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    SUBNET_A, SUBNET_B, TABLE,
    kill::Life,
    rig::{Rig, Running, State},
    spec,
    switch::Switch,
};

const OURS: &str = "10.50.0.0/16";
const FOREIGN: &str = "10.99.0.0/16";

/// One interface on each node, for these routes.
fn routed(destinations: &[&str]) -> Value {
    let mut wish = spec(&[SUBNET_A, SUBNET_B]);
    wish["subnetPolicy"] = json!("MatchZone");
    wish["sourceDestCheck"] = json!(false);
    let routes = destinations.iter();
    let routes = routes.map(|to| json!({"routeTableID": TABLE, "destination": to}));
    wish["routes"] = routes.collect();
    wish
}

/// Where a route leads, and its state.
fn route(rig: &Running, destination: &str) -> Option<(Target, &'static str)> {
    let world = rig.door.world();
    let table = world.route_tables().find(|one| one.id.as_str() == TABLE)?;
    let target = table.routes.get(&destination.parse().unwrap())?.clone();
    let state = world.route_state(&target);
    Some((target, state))
}

/// The interface on a node.
fn on(rig: &Running, node: &str) -> Option<EniId> {
    let instance = super::world::instance_of(node);
    let ours = rig.ours().into_iter();
    let mut here = ours.filter(|eni| {
        let tie = eni.attachment.as_ref();
        tie.is_some_and(|tie| tie.instance.as_str() == instance)
    });
    here.next().map(|eni| eni.id)
}

async fn until_it_leads_to(rig: &Running, node: &str) {
    let what = format!("{OURS} leads to {node}");
    rig.until(&what, |state| {
        let eni = on(rig, node);
        let leads = route(rig, OURS) == eni.map(|eni| (Target::Interface(eni), "active"));
        leads && eni_listed(state, "routed").is_some()
    })
    .await;
}

fn eni_listed<'a>(state: &'a State, name: &str) -> Option<&'a str> {
    let status = state.node_enis.get(name)?.status.as_ref()?;
    Some(status.routes.first()?.eni_id.as_str())
}

fn says(state: &State, name: &str) -> (String, String) {
    let conditions = state.status(name).conditions;
    let routes = conditions
        .into_iter()
        .find(|one| one.type_ == "RoutesReady");
    routes
        .map(|one| (one.reason, one.message))
        .unwrap_or_default()
}

fn changes(rig: &Running) -> [u64; 3] {
    ["CreateRoute", "ReplaceRoute", "DeleteRoute"].map(|action| rig.calls(action))
}

/// Somebody points a route at an interface.
fn point(rig: &Running, destination: &str, eni: &EniId) {
    let request = Request::new("CreateRoute")
        .with("RouteTableId", TABLE)
        .with("DestinationCidrBlock", destination)
        .with("NetworkInterfaceId", eni);
    rig.door.world().call(&request, Timestamp::now()).unwrap();
}

#[test]
fn a_route_is_created_moves_with_its_nodes_and_goes() {
    Rig::new(3).run(async |rig| {
        let controller = rig.controller();
        let mut wish = routed(&[OURS]);
        wish["updatePolicy"] = json!({"maxUnavailable": "100%"});
        rig.wish("routed", &wish).await;
        rig.until("all have one", |state| state.attached() == 3)
            .await;
        rig.until("its route is ready", |state| {
            says(state, "routed").0 == "Ready"
        })
        .await;
        let first = route(rig, OURS).unwrap();
        let owner = ["node1", "node2", "node3"]
            .into_iter()
            .find(|node| on(rig, node).map(Target::Interface) == Some(first.0.clone()))
            .expect("it leads to one of ours");
        let mut others = ["node1", "node2", "node3"].into_iter();
        let mut others: Vec<_> = others.by_ref().filter(|node| *node != owner).collect();
        assert_eq!(changes(rig), [1, 0, 0]);

        rig.unlabel(owner).await;
        until_it_leads_to(rig, others.remove(0)).await;
        let second = if owner == "node1" { "node2" } else { "node1" };
        assert_eq!(changes(rig), [1, 1, 0], "once, and nobody else's");
        rig.terminate(second).await;
        until_it_leads_to(rig, others.remove(0)).await;
        assert_eq!(changes(rig), [1, 2, 0]);

        rig.unwish("routed").await;
        rig.until("nothing is left", |state| {
            state.node_enis.is_empty() && state.records.is_empty()
        })
        .await;
        assert_eq!(route(rig, OURS), None);
        assert_eq!(changes(rig), [1, 2, 1]);
        let foreign = route(rig, FOREIGN).unwrap().0;
        assert_eq!(foreign, Target::Gateway("tgw-00000001".to_owned()));
        controller.stop().await;
    });
}

#[test]
fn a_route_of_somebody_else_is_left_alone_and_named() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        let mut wish = routed(&[FOREIGN]);
        rig.wish("greedy", &wish).await;
        rig.until("it says so", |state| {
            let (reason, message) = says(state, "greedy");
            reason == "RouteForeign" && message.contains(TABLE) && message.contains("tgw-00000001")
        })
        .await;
        rig.until_event("RouteForeign").await;
        let reads = rig.calls("DescribeRouteTables");
        rig.until("it looks thrice more", |_| {
            rig.calls("DescribeRouteTables") >= reads + 3
        })
        .await;
        assert_eq!(changes(rig), [0; 3]);

        wish["routes"][0]["routeTableID"] = json!("rtb-0000dead");
        wish["sourceDestCheck"] = json!(true);
        rig.wish("greedy", &wish).await;
        rig.until("it says what else is wrong", |state| {
            let (reason, message) = says(state, "greedy");
            reason == "RouteTableNotFound" && message.contains("sourceDestCheck: false")
        })
        .await;
        assert_eq!(changes(rig), [0; 3]);
        controller.stop().await;
    });
}

#[test]
fn a_users_route_that_leads_nowhere_is_named_and_left() {
    Rig::new(1).run(async |rig| {
        let controller = rig.controller();
        rig.wish("plain", &spec(&[SUBNET_B])).await;
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        let eni = rig.ours()[0].id.clone();
        point(rig, OURS, &eni);
        rig.until("it is known", |state| eni_listed(state, "plain").is_some())
            .await;
        assert_eq!(says(&rig.state().await, "plain").0, "");
        rig.call("StopInstances", "InstanceId.1", "i-00000001");
        rig.until("it is named", |state| {
            let (reason, message) = says(state, "plain");
            reason == "RouteBlackhole"
                && [TABLE, OURS, eni.as_str()]
                    .iter()
                    .all(|part| message.contains(part))
        })
        .await;
        rig.until_event("RouteBlackhole").await;
        rig.unwish("plain").await;
        rig.until("nothing is left", |state| {
            state.node_enis.is_empty() && state.records.is_empty()
        })
        .await;
        let left = route(rig, OURS);
        assert_eq!(left, Some((Target::Interface(eni), "blackhole")));
        assert_eq!(changes(rig), [1, 0, 0], "the user's own");
        controller.stop().await;
    });
}

/// A route comes and goes with its NodeENI, and the controller dies at `step`.
async fn die_once(rig: &Running, step: usize, before: bool) -> bool {
    let mut life = Life::begin(rig, Switch::at(step, before));
    let name = format!("life-{step}-{before}");
    rig.wish(&name, &routed(&[OURS])).await;
    life.until("its route is ready", |state| {
        let leads = matches!(route(rig, OURS), Some((Target::Interface(_), "active")));
        leads && says(state, &name).0 == "Ready"
    })
    .await;
    rig.unwish(&name).await;
    life.until("nothing is left", |state| {
        state.records.is_empty() && state.node_enis.is_empty()
    })
    .await;
    assert_eq!(route(rig, OURS), None, "step {step}, before: {before}");
    assert!(route(rig, FOREIGN).is_some(), "step {step}");
    if let Some(successor) = life.successor {
        successor.stop().await;
    }
    life.switch.pulled.is_cancelled()
}

#[test]
fn a_controller_killed_at_any_step_leaves_no_route_behind() {
    Rig::new(1).run(async |rig| {
        let mut step = 0;
        while die_once(rig, step, true).await {
            die_once(rig, step, false).await;
            step += 1;
        }
        println!("killed before and after each of {step} steps");
        assert!(step > 12, "only {step} steps: the switch is not in the way");
    });
}
