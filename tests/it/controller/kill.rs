//! The controller is killed before and after each single EC2 call and each write to the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::{Context, Poll},
};

use eniway_api::{AllocationId, Asked, AssociationId, AttachmentId, EniId, VpcId};
use eniway_ec2::{
    Answer, Change, Ec2, ElasticIp, Eni, Group, Instance, InstanceType, Instances, Interfaces,
    NewAttachment, NewEni, RouteChange, RouteTable, Subnet, Subnets,
};
use futures::future::BoxFuture;
use ipnet::IpNet;
use kube::{Client, client::Body};
use serde_json::json;
use simulation::door::Door;
use tower_service::Service;

use super::{
    SUBNET_B, pool,
    process::{Controller, config},
    rig::{Rig, Running, State},
    spec,
    switch::Switch,
};

/// The door, with the switch before it.
struct Mortal {
    door: Door,
    switch: Switch,
}

impl Ec2 for Mortal {
    fn instances<'a>(&'a self, which: &'a Instances) -> Answer<'a, Vec<Instance>> {
        self.door.instances(which)
    }
    fn interfaces<'a>(&'a self, which: &'a Interfaces) -> Answer<'a, Vec<Eni>> {
        self.door.interfaces(which)
    }
    fn subnets<'a>(&'a self, which: &'a Subnets) -> Answer<'a, Vec<Subnet>> {
        self.door.subnets(which)
    }
    fn groups<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<Group>> {
        self.door.groups(vpc)
    }
    fn route_tables<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<RouteTable>> {
        self.door.route_tables(vpc)
    }
    fn route<'a>(&'a self, change: &'a RouteChange) -> Answer<'a, ()> {
        Box::pin(self.switch.step(self.door.route(change)))
    }
    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<InstanceType>> {
        self.door.instance_types(names)
    }
    fn create<'a>(&'a self, new: &'a NewEni) -> Answer<'a, Eni> {
        Box::pin(self.switch.step(Ec2::create(&self.door, new)))
    }
    fn attach<'a>(&'a self, new: &'a NewAttachment) -> Answer<'a, AttachmentId> {
        Box::pin(self.switch.step(self.door.attach(new)))
    }
    fn modify<'a>(&'a self, eni: &'a EniId, change: &'a Change) -> Answer<'a, ()> {
        Box::pin(self.switch.step(Ec2::modify(&self.door, eni, change)))
    }
    fn tag<'a>(&'a self, eni: &'a EniId, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        Box::pin(self.switch.step(self.door.tag(eni, tags)))
    }
    fn untag<'a>(&'a self, eni: &'a EniId, keys: &'a BTreeSet<String>) -> Answer<'a, ()> {
        Box::pin(self.switch.step(self.door.untag(eni, keys)))
    }
    fn assign<'a>(&'a self, eni: &'a EniId, asked: &'a Asked) -> Answer<'a, Vec<IpNet>> {
        Box::pin(self.switch.step(self.door.assign(eni, asked)))
    }
    fn unassign<'a>(&'a self, eni: &'a EniId, entries: &'a BTreeSet<IpNet>) -> Answer<'a, ()> {
        Box::pin(self.switch.step(self.door.unassign(eni, entries)))
    }
    fn elastic_ips<'a>(&'a self) -> Answer<'a, Vec<ElasticIp>> {
        Ec2::elastic_ips(&self.door)
    }
    fn associate<'a>(
        &'a self,
        address: &'a AllocationId,
        eni: &'a EniId,
    ) -> Answer<'a, AssociationId> {
        Box::pin(self.switch.step(Ec2::associate(&self.door, address, eni)))
    }
    fn disassociate<'a>(&'a self, association: &'a AssociationId) -> Answer<'a, ()> {
        Box::pin(self.switch.step(Ec2::disassociate(&self.door, association)))
    }
    fn detach<'a>(&'a self, attachment: &'a AttachmentId, force: bool) -> Answer<'a, ()> {
        Box::pin(self.switch.step(self.door.detach(attachment, force)))
    }
    fn delete<'a>(&'a self, eni: &'a EniId) -> Answer<'a, ()> {
        Box::pin(self.switch.step(self.door.delete(eni)))
    }
}

/// A client whose writes go through the switch. Events are no steps: nothing follows from them.
#[derive(Clone)]
struct MortalClient {
    inner: Client,
    switch: Switch,
}

impl Service<http::Request<Body>> for MortalClient {
    type Response = http::Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let is_step =
                request.method() != http::Method::GET && !request.uri().path().contains("/events");
            let work = this.inner.send(request);
            if is_step {
                this.switch.step(work).await
            } else {
                work.await
            }
        })
    }
}

/// A controller that dies once, and the one that comes after it.
pub(super) struct Life<'a> {
    rig: &'a Running,
    pub(super) switch: Switch,
    mortal: Option<Controller>,
    pub(super) successor: Option<Controller>,
}

impl Running {
    /// A controller that the switch kills.
    pub(super) fn mortal(&self, switch: &Switch) -> Controller {
        let client = MortalClient {
            inner: self.client.clone(),
            switch: switch.clone(),
        };
        let door = Mortal {
            door: self.door.clone(),
            switch: switch.clone(),
        };
        self.controller_with(config(), Client::new(client, "default"), door)
    }
}

impl<'a> Life<'a> {
    pub(super) fn begin(rig: &'a Running, switch: Switch) -> Self {
        let mortal = rig.mortal(&switch);
        Self {
            rig,
            switch,
            mortal: Some(mortal),
            successor: None,
        }
    }

    pub(super) async fn until(&mut self, what: &str, holds: impl Fn(&State) -> bool) {
        tokio::select! {
            () = self.rig.until(what, &holds) => {}
            () = self.switch.pulled.cancelled(), if self.successor.is_none() => {
                self.mortal = None;
                self.successor = Some(self.rig.controller());
                self.rig.until(what, &holds).await;
            }
        }
    }
}

/// A wish comes and goes, and its controller dies at `step`; whether it lived long enough to die.
async fn die_once(rig: &Running, wish: &serde_json::Value, step: usize, before: bool) -> bool {
    let mut life = Life::begin(rig, Switch::at(step, before));
    let name = format!("life-{step}-{before}");
    rig.wish(&name, wish).await;
    life.until("it is attached", |state| state.attached() == 1)
        .await;
    assert_eq!(rig.ours().len(), 1, "step {step}, before: {before}");
    rig.unwish(&name).await;
    life.until("nothing is left", |state| {
        state.records.is_empty() && state.node_enis.is_empty()
    })
    .await;
    assert_eq!(rig.ours().len(), 0, "step {step}, before: {before}");
    if let Some(successor) = life.successor {
        successor.stop().await;
    }
    life.switch.pulled.is_cancelled()
}

#[test]
fn a_controller_killed_at_any_step_leaves_exactly_what_is_wanted() {
    Rig::new(1).run(async |rig| {
        let wish = spec(&[SUBNET_B]);
        let mut step = 0;
        loop {
            let died = die_once(rig, &wish, step, true).await;
            die_once(rig, &wish, step, false).await;
            if !died {
                break;
            }
            step += 1;
        }
        println!("killed before and after each of {step} steps");
        assert!(step > 10, "only {step} steps: the switch is not in the way");
    });
}

#[test]
fn a_controller_killed_after_any_step_lends_one_member_and_gets_it_back() {
    Rig::new(1).run(async |rig| {
        let members = ["10.0.12.10", "10.0.12.11"].map(|ip| pool::member(rig, SUBNET_B, ip));
        pool::select(rig).await;
        let wish = json!({"nodeSelector": {"ng": "multi-eni"}, "poolRef": {"name": "web"}});
        let mut step = 0;
        while die_once(rig, &wish, step, false).await {
            step += 1;
        }
        println!("killed after each of {step} steps");
        assert!(step > 8, "only {step} steps: the switch is not in the way");
        let world = rig.door.world();
        for eni in world.interfaces() {
            if members.contains(&eni.id.to_string()) {
                assert_eq!(eni.status(), "available");
            }
        }
        drop(world);
        assert_eq!(rig.calls("CreateNetworkInterface"), 2, "the test's own");
        assert_eq!(rig.calls("DeleteNetworkInterface"), 0);
    });
}
