//! What users, operators and Amazon do to a cluster, in an order that the seed decides.

use std::time::Duration;

use ec2_sim::{InstanceState, Request, Response};
use eniway_api::{
    NodeEni, SubnetPolicy,
    conditions::reason,
    mark::{self, ANNOTATION_CONFIRM_RELEASE as CONFIRM},
};
use kube::ResourceExt;

use crate::{
    cluster::{CONTROLLERS, Cluster, LABEL, NODE_ENIS, NODES, node, node_eni, node_name},
    pools, routes,
};
use simulation::small_cloud::{self, SUBNETS, instance_id, subnet};

/// What has become of the nodes so far.
pub(crate) struct Chaos {
    nodes: Vec<State>,
    log: Vec<String>,
}

#[derive(Clone, Copy)]
struct State {
    life: usize,
    labelled: bool,
    registered: bool,
}

impl Chaos {
    pub(crate) fn new() -> Self {
        let state = State {
            life: 0,
            labelled: true,
            registered: true,
        };
        Self {
            nodes: vec![state; NODES],
            log: Vec::new(),
        }
    }

    /// One thing after another until `steps` have happened; then the weather turns and all that
    /// stopped is started again.
    pub(crate) async fn rage(&mut self, cluster: &mut Cluster, steps: usize) {
        for number in 0..NODE_ENIS {
            if cluster.weather.below(3) > 0 {
                self.wish(cluster, number);
            }
        }
        for number in 0..pools::POOLS {
            if cluster.weather.below(3) > 0 {
                self.wish_from_pool(cluster, number);
            }
        }
        for _ in 0..steps {
            let pause = u64::try_from(cluster.weather.below(30_000)).unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.step(cluster);
        }
        cluster.weather.calm();
        cluster.door.world().clear_faults();
        tokio::time::sleep(Duration::from_secs(30)).await;
        self.mend(cluster);
    }

    /// What happened, for who reads a failure.
    pub(crate) fn log(&self) -> String {
        self.log.join("\n")
    }

    fn note(&mut self, cluster: &Cluster, what: &str) {
        let at = cluster
            .now()
            .duration_since(small_cloud::epoch())
            .as_secs_f64();
        self.log.push(format!("{at:8.3} s  {what}"));
    }

    fn step(&mut self, cluster: &mut Cluster) {
        let number = cluster.weather.below(NODES);
        match cluster.weather.below(24) {
            0..3 => {
                let wish = cluster.weather.below(NODE_ENIS);
                self.wish(cluster, wish);
            }
            3 => {
                let name = format!("n{}", cluster.weather.below(NODE_ENIS));
                self.note(cluster, &format!("NodeENI {name} is deleted"));
                cluster.api.store().unwish(&name);
            }
            4..6 => self.label(cluster, number),
            6 => self.terminate(cluster, number),
            7 => self.replace(cluster, number),
            8..10 => self.power(cluster, number),
            10..12 => self.tamper(cluster),
            12 => self.foreign(cluster, number),
            13..15 => self.readdress(cluster),
            15..18 => {
                let which = cluster.weather.below(CONTROLLERS);
                let dead = cluster.weather.below(3) > 0;
                self.note(cluster, &format!("controller-{which} ends, dead: {dead}"));
                cluster.end(which, dead);
            }
            18..20 => {
                let number = cluster.weather.below(pools::POOLS);
                if cluster.weather.below(2) == 0 {
                    self.wish_from_pool(cluster, number);
                } else {
                    self.note(cluster, &format!("NodeENI p{number} is deleted"));
                    cluster.api.store().unwish(&format!("p{number}"));
                }
            }
            20 => {
                if let Some(eni) = pools::rival_takes(cluster) {
                    self.note(cluster, &format!("another cluster marks {eni}"));
                }
            }
            21 => {
                self.note(cluster, "the other cluster gives back what it has");
                pools::rival_leaves(cluster);
            }
            22 => {
                let number = cluster.weather.below(NODE_ENIS);
                if routes::delete(cluster, number) {
                    self.note(
                        cluster,
                        &format!("the route of n{number} is deleted by hand"),
                    );
                }
            }
            _ => {
                self.note(cluster, "the controllers that ended start");
                cluster.start();
            }
        }
    }

    fn wish(&mut self, cluster: &Cluster, number: usize) {
        let policy = if cluster.weather.below(2) == 0 {
            SubnetPolicy::MatchZone
        } else {
            SubnetPolicy::All
        };
        let first = cluster.weather.below(SUBNETS);
        let count = 1 + cluster.weather.below(SUBNETS);
        let subnets: Vec<_> = (0..count).map(|n| (first + n) % SUBNETS).collect();
        let secondary = cluster.weather.below(5).checked_sub(1);
        let secondary = secondary.map(|count| u32::try_from(count).unwrap());
        let routed = cluster.weather.below(2) == 0;
        self.note(
            cluster,
            &format!(
                "NodeENI n{number} wants {subnets:?}, {policy:?}, {secondary:?} addresses, a route: {routed}"
            ),
        );
        let mut wish = node_eni(number, &subnets, policy, secondary);
        if routed {
            wish.spec.routes = vec![routes::wish(cluster, number)];
        }
        cluster.api.store().wish(wish);
    }

    fn wish_from_pool(&mut self, cluster: &Cluster, number: usize) {
        self.note(cluster, &format!("NodeENI p{number} wants members"));
        cluster.api.store().wish(pools::node_eni(number));
    }

    fn label(&mut self, cluster: &Cluster, number: usize) {
        let state = &mut self.nodes[number];
        if !state.registered {
            return;
        }
        state.labelled = !state.labelled;
        let labelled = state.labelled;
        let (key, value) = LABEL;
        let value = labelled.then_some(value);
        cluster.api.store().label(&node_name(number), key, value);
        self.note(cluster, &format!("node{number} has the label: {labelled}"));
    }

    /// The instance ends; its node goes then, or later.
    fn terminate(&mut self, cluster: &Cluster, number: usize) {
        let id = instance_id(number, self.nodes[number].life);
        self.note(cluster, &format!("{id} is terminated"));
        cluster.by_hand(&Request::new("TerminateInstances").with("InstanceId.1", &id));
        if cluster.weather.below(2) == 0 {
            self.unregister(cluster, number);
        }
    }

    fn unregister(&mut self, cluster: &Cluster, number: usize) {
        self.note(cluster, &format!("node{number} is deleted"));
        self.nodes[number].registered = false;
        cluster.api.store().remove_node(&node_name(number));
    }

    /// Another instance takes the node's name, once the old one has ended.
    fn replace(&mut self, cluster: &Cluster, number: usize) {
        let id = instance_id(number, self.nodes[number].life);
        let lives = cluster.state(&id).is_some_and(|state| {
            !matches!(
                state,
                InstanceState::Terminated | InstanceState::ShuttingDown
            )
        });
        if lives {
            return;
        }
        let state = &mut self.nodes[number];
        state.life += 1;
        state.registered = true;
        let State { life, labelled, .. } = *state;
        cluster.launch(number, life);
        cluster.api.store().put_node(node(number, life, labelled));
        self.note(
            cluster,
            &format!("{} is node{number} now", instance_id(number, life)),
        );
    }

    fn power(&mut self, cluster: &Cluster, number: usize) {
        let id = instance_id(number, self.nodes[number].life);
        let action = match cluster.state(&id) {
            Some(InstanceState::Running) => "StopInstances",
            Some(InstanceState::Stopped) => "StartInstances",
            _ => return,
        };
        self.note(cluster, &format!("{action} {id}"));
        cluster.by_hand(&Request::new(action).with("InstanceId.1", &id));
    }

    /// Somebody detaches one of our interfaces, and perhaps deletes it.
    fn tamper(&mut self, cluster: &Cluster) {
        let ours: Vec<_> = {
            let world = cluster.door.world();
            let marked = world
                .interfaces()
                .filter(|eni| eni.tags.contains_key(mark::TAG_ATTACHMENT));
            marked
                // Nobody deletes a fixed address.
                .filter(|eni| eni.attachment.is_some() || !pools::is_member(eni))
                .map(|eni| {
                    (
                        eni.id.clone(),
                        eni.attachment.as_ref().map(|a| a.id.clone()),
                    )
                })
                .collect()
        };
        if ours.is_empty() {
            return;
        }
        let (id, attachment) = ours[cluster.weather.below(ours.len())].clone();
        match attachment {
            Some(attachment) => {
                self.note(cluster, &format!("{id} is detached by hand"));
                let detach =
                    Request::new("DetachNetworkInterface").with("AttachmentId", &attachment);
                cluster.by_hand(&detach.with("Force", true));
            }
            None => {
                self.note(cluster, &format!("{id} is deleted by hand"));
                cluster.by_hand(
                    &Request::new("DeleteNetworkInterface").with("NetworkInterfaceId", &id),
                );
            }
        }
    }

    /// Somebody takes an address off one of our interfaces.
    fn readdress(&mut self, cluster: &Cluster) {
        let ours: Vec<_> = {
            let world = cluster.door.world();
            let marked = world
                .interfaces()
                .filter(|eni| eni.tags.contains_key(mark::TAG_ATTACHMENT));
            let last =
                |eni: &ec2_sim::Interface| Some((eni.id.clone(), *eni.addresses[1..].last()?));
            marked.filter_map(last).collect()
        };
        if ours.is_empty() {
            return;
        }
        let (id, address) = &ours[cluster.weather.below(ours.len())];
        self.note(cluster, &format!("{address} is taken off {id} by hand"));
        let unassign = Request::new("UnassignPrivateIpAddresses")
            .with("NetworkInterfaceId", id)
            .with("PrivateIpAddress.1", address);
        cluster.by_hand(&unassign);
    }

    /// Somebody attaches an interface of their own.
    fn foreign(&mut self, cluster: &mut Cluster, number: usize) {
        // An instance has places for so many, and for all that can be asked for.
        if cluster.others.len() + cluster.peers.len() >= NODES {
            return;
        }
        let create = Request::new("CreateNetworkInterface").with("SubnetId", subnet(number % 2));
        let created = cluster.by_hand(&create);
        let created = created
            .as_ref()
            .and_then(|created| Response::first(created, "networkInterfaceId"));
        let Some(id) = created.map(ToOwned::to_owned) else {
            return;
        };
        let instance = instance_id(number, self.nodes[number].life);
        let attach = Request::new("AttachNetworkInterface")
            .with("NetworkInterfaceId", &id)
            .with("InstanceId", &instance)
            .with("DeviceIndex", 1 + cluster.weather.below(4));
        let attached = cluster.by_hand(&attach).is_some();
        self.note(
            cluster,
            &format!("{id} of somebody else; on {instance}: {attached}"),
        );
        let id = ec2_sim::EniId::parse(&id).unwrap();
        cluster.others.insert(id, attached.then_some(instance));
    }

    /// An operator means it: what is held because it takes many nodes is confirmed.
    pub(crate) fn confirm(&mut self, cluster: &Cluster) {
        let held = |node_eni: &&NodeEni| {
            let conditions = node_eni.status.iter().flat_map(|status| &status.conditions);
            let mut reasons = conditions.map(|one| one.reason.as_str());
            let confirmed = node_eni.annotations().contains_key(CONFIRM);
            !confirmed && reasons.any(|reason| reason == reason::MASS_RELEASE_HELD)
        };
        let held: Vec<_> = {
            let store = cluster.api.store();
            store
                .node_enis()
                .filter(held)
                .map(ResourceExt::name_any)
                .collect()
        };
        for name in held {
            self.note(cluster, &format!("the mass release of {name} is confirmed"));
            cluster
                .api
                .store()
                .annotate(&name, CONFIRM, &NODES.to_string());
        }
    }

    /// Everything that was interrupted goes on: processes, instances, nodes.
    fn mend(&mut self, cluster: &mut Cluster) {
        self.note(cluster, "calm");
        cluster.start();
        pools::rival_leaves(cluster);
        for number in 0..NODES {
            let id = instance_id(number, self.nodes[number].life);
            match cluster.state(&id) {
                Some(InstanceState::Stopped | InstanceState::Stopping) => {
                    self.power(cluster, number);
                }
                Some(InstanceState::Terminated | InstanceState::ShuttingDown) | None => {
                    self.unregister(cluster, number);
                }
                Some(InstanceState::Pending | InstanceState::Running) => {}
            }
        }
    }
}
