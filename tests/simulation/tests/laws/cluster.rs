//! A cluster whose controllers are the real ones, and whose servers and nodes are models.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ec2_sim::{EniId, InstanceState, Request, Settings, World};
use eniway_api::{Ipv4Wish, NodeEni, NodeEniSpec, SubnetPolicy, mark};
use eniway_controller::{
    Config,
    desired::{Node, Provider, Taint},
};
use eniway_ec2::queue::Queue;
use jiff::Timestamp;
use kube::ResourceExt as _;
use simulation::door::{Clock, Door, QUEUE};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    agents::{agents, renew},
    api_server::ApiServer,
    clock,
    ec2::{Crimes, Sabotage, Seat},
    peer, pools,
    weather::Weather,
};
use simulation::small_cloud::{self, instance, instance_id, subnet};

pub(crate) const NODES: usize = 4;
pub(crate) const NODE_ENIS: usize = 3;
/// It holds all that is asked for, and what others attach.
const KIND: &str = "m5.24xlarge";
/// More controllers than one would do by mistake.
pub(crate) const CONTROLLERS: usize = 2;

/// Which nodes NodeENIs select.
pub(crate) const LABEL: (&str, &str) = ("ng", "multi");

pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    pub(crate) door: Door,
    pub(crate) weather: Weather,
    pub(crate) crimes: Crimes,
    sabotage: Option<Sabotage>,
    controllers: Vec<Option<Running>>,
    agents: [JoinHandle<()>; 2],
    /// Interfaces of somebody else, by ID, with the instance that they are on.
    pub(crate) others: BTreeMap<EniId, Option<String>>,
    /// Interfaces that J had made before.
    pub(crate) peers: BTreeSet<EniId>,
}

struct Running {
    task: JoinHandle<Result<(), eniway_controller::Error>>,
    shutdown: CancellationToken,
}

pub(crate) fn node_name(number: usize) -> String {
    format!("node{number}")
}

fn world(seed: u64, weather: &Weather) -> World {
    let milliseconds = |most: u64| {
        let most = usize::try_from(most).unwrap();
        Duration::from_millis(u64::try_from(weather.below(most)).unwrap())
    };
    let settings = Settings {
        attach_ms: milliseconds(6_000),
        detach_ms: milliseconds(6_000),
        stop_ms: milliseconds(20_000),
        start_ms: milliseconds(20_000),
        terminate_ms: milliseconds(20_000),
        read_lag_ms: milliseconds(5_000),
        fresh_eni_hidden_ms: milliseconds(2_000),
        forget_ms: Duration::from_secs(300),
        ..Settings::default()
    };
    let mut world = small_cloud::world(KIND, NODES, seed, settings);
    // At least once means: sometimes twice.
    world.add_queue(QUEUE).twice = weather.below(2) == 0;
    world
}

/// The node as its kubelet registers it.
pub(crate) fn node(number: usize, life: usize, labelled: bool) -> Node {
    let (key, value) = LABEL;
    let label = (key.to_owned(), value.to_owned());
    let taint = Taint {
        index: 0,
        key: mark::TAINT_NOT_READY.to_owned(),
        effect: "NoSchedule".to_owned(),
    };
    let instance = instance_id(number, life);
    Node {
        max_pods: None,
        name: node_name(number),
        uid: format!("node-{instance}"),
        version: 0,
        labels: labelled.then_some(label).into_iter().collect(),
        provider: Provider::Instance(instance.as_str().into()),
        taints: vec![taint],
        interfaces: None,
    }
}

/// What a user applies.
pub(crate) fn node_eni(
    number: usize,
    subnets: &[usize],
    policy: SubnetPolicy,
    secondary: Option<u32>,
) -> NodeEni {
    let spec = NodeEniSpec {
        node_selector: BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]),
        subnet_ids: subnets
            .iter()
            .map(|number| subnet(*number).into())
            .collect(),
        subnet_policy: Some(policy),
        security_group_names: vec!["multus".to_owned()],
        source_dest_check: Some(number.is_multiple_of(2)),
        ipv4: secondary.map(|count| Ipv4Wish {
            secondary_count: Some(count),
            ..Ipv4Wish::default()
        }),
        ..NodeEniSpec::default()
    };
    NodeEni::new(&format!("n{number}"), spec)
}

impl Cluster {
    /// A cluster in rough weather, in which nothing has happened yet.
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        clock::begin();
        let weather = Weather::new(seed);
        let api = ApiServer::new(&weather);
        let door = Door::new(world(seed, &weather), Clock::Given(clock::wall));
        for number in 0..NODES {
            api.store().put_node(node(number, 0, true));
        }
        let agents = [
            tokio::spawn(agents(api.clone(), door.clone(), weather.clone())),
            tokio::spawn(renew(api.clone(), door.clone())),
        ];
        let mut cluster = Self {
            api,
            door,
            weather,
            crimes: Crimes::default(),
            sabotage,
            controllers: (0..CONTROLLERS).map(|_| None).collect(),
            agents,
            others: BTreeMap::new(),
            peers: BTreeSet::new(),
        };
        peer::leave(&mut cluster);
        pools::begin(&cluster);
        cluster.start();
        cluster
    }

    /// Starts the controllers that do not run.
    pub(crate) fn start(&mut self) {
        for number in 0..CONTROLLERS {
            let ended = self.controllers[number]
                .as_ref()
                .is_none_or(|running| running.task.is_finished());
            if !ended {
                continue;
            }
            let identity = format!("controller-{number}");
            let seat = Seat {
                identity: identity.clone(),
                door: self.door.clone(),
                api: self.api.clone(),
                weather: self.weather.clone(),
                crimes: self.crimes.clone(),
                sabotage: self.sabotage,
            };
            let config = Config {
                leader_election: true,
                identity,
                no_throttle: false,
                wall: clock::wall,
                annotate_nodes: true,
                adopt: self.sabotage != Some(Sabotage::NoAdoption),
                ..Config::embedded("simulated")
            };
            let shutdown = CancellationToken::new();
            // One listens to events, the other does without.
            let queue: Option<Arc<dyn Queue>> = match number {
                0 => Some(Arc::new(seat.clone())),
                _ => None,
            };
            let (api, stop) = (self.api.clone(), shutdown.clone());
            let run = eniway_controller::run_listening(config, api, seat, queue, stop);
            let task = tokio::spawn(run);
            self.controllers[number] = Some(Running { task, shutdown });
        }
    }

    /// Ends a controller dead, or as SIGTERM does.
    pub(crate) fn end(&mut self, number: usize, dead: bool) {
        if let Some(running) = &self.controllers[number] {
            if dead {
                running.task.abort();
            } else {
                running.shutdown.cancel();
            }
        }
    }

    /// A call by hand; one that EC2 refuses is a hand that came too late.
    pub(crate) fn by_hand(&self, request: &Request) -> Option<ec2_sim::Response> {
        self.door.world().call(request, clock::wall()).ok()
    }

    /// Runs another instance.
    pub(crate) fn launch(&self, number: usize, life: usize) {
        let mut world = self.door.world();
        world
            .add_instance(instance(KIND, number, life), clock::wall())
            .unwrap();
    }

    pub(crate) fn state(&self, instance: &str) -> Option<InstanceState> {
        let world = self.door.world();
        let found = world
            .instances()
            .find(|found| found.id.as_str() == instance);
        found.map(|found| found.state)
    }

    pub(crate) fn now(&self) -> Timestamp {
        clock::wall()
    }

    /// How often EC2 was told to change something, and how often a record or a NodeENI was written.
    pub(crate) fn deeds(&self) -> (u64, u64) {
        let world = self.door.world();
        let changes = world
            .counters()
            .iter()
            .filter(|(action, _)| !action.starts_with("Describe") && *action != "ReceiveMessage");
        let calls = changes.flat_map(|(_, codes)| codes.values()).sum();
        (calls, self.api.store().writes())
    }

    /// All records and interfaces, for who reads a failure.
    pub(crate) fn tell(&self) -> String {
        let mut lines = Vec::new();
        for record in self.api.store().records() {
            let status = record.status.clone().unwrap_or_default();
            let says: Vec<_> = status
                .conditions
                .iter()
                .map(|c| format!("{} {}", c.reason, c.message))
                .collect();
            lines.push(format!(
                "{} {} on {} in {}: {:?} {:?} {says:?}",
                record.name_any(),
                record.uid().unwrap_or_default(),
                record.spec.instance_id,
                record.spec.subnet_id,
                record.metadata.deletion_timestamp.is_some(),
                status.ec2.map(|ec2| (ec2.state, ec2.eni_id, ec2.attempt)),
            ));
        }
        for node_eni in self.api.store().node_enis() {
            let status = node_eni.status.clone().unwrap_or_default();
            let routes = status.routes.iter();
            let routes: Vec<_> = routes.map(|one| (&one.eni_id, one.created)).collect();
            let says: Vec<_> = status.conditions.iter().map(|c| &c.reason).collect();
            lines.push(format!(
                "{}: routes {routes:?}, {says:?}",
                node_eni.name_any()
            ));
        }
        for eni in self.door.world().interfaces() {
            let at = eni
                .attachment
                .as_ref()
                .map(|a| (a.instance.to_string(), a.slot.index));
            lines.push(format!(
                "{} in {} at {at:?} for {:?}",
                eni.id,
                eni.subnet,
                eni.tags.get(mark::TAG_ATTACHMENT)
            ));
        }
        lines.join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for running in self.controllers.iter().flatten() {
            running.task.abort();
        }
        for agent in &self.agents {
            agent.abort();
        }
    }
}
