//! Fleets in fair weather: what they cost EC2, and how near they come to the pace that it allows.

mod attach;
mod clean_up;
mod failing;

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use ec2_sim::{
    Settings, World,
    spec::{GroupSpec, InstanceSpec, SubnetSpec, VpcSpec, WorldSpec},
};
use eniway_api::{Ec2State, NodeEni, NodeEniAttachment, NodeEniSpec};
use eniway_controller::{
    Config,
    desired::{Node, Provider},
};
use simulation::{
    door::{Clock, Door},
    small_cloud::epoch,
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{api_server::ApiServer, clock, weather::Weather};

const SUBNETS: usize = 2;
/// Of EC2's request quotas.
const SHARE: f64 = 0.8;
/// The buckets of AttachNetworkInterface and of DetachNetworkInterface, the smallest ones on the way.
const BURST: f64 = 50.0;
const REFILL: f64 = 5.0;
const NAME: &str = "fleet";

/// How often each action was called; refused by EC2's buckets or not.
type Calls = BTreeMap<String, u64>;

/// A fleet with its controller, on a clock that jumps.
struct Fleet {
    interfaces: usize,
    api: ApiServer,
    door: Door,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Fleet {
    /// `nodes` of them, a controller that has read EC2, and no wish yet.
    async fn start(nodes: usize) -> Self {
        clock::begin();
        let weather = Weather::new(0);
        weather.calm();
        let api = ApiServer::new(&weather);
        let door = Door::new(world(nodes), Clock::Given(clock::wall));
        for number in 0..nodes {
            api.store().put_node(Node {
                name: format!("node{number}"),
                labels: label(),
                provider: Provider::Instance(instance(number).as_str().into()),
                ..Node::default()
            });
        }
        let config = Config {
            no_throttle: false,
            throttle_fraction: SHARE,
            wall: clock::wall,
            ..Config::embedded("simulated")
        };
        let shutdown = CancellationToken::new();
        let run = eniway_controller::run(config, api.clone(), door.clone(), shutdown.clone());
        let running = tokio::spawn(async { run.await.unwrap() });
        tokio::time::sleep(Duration::from_secs(5)).await;
        door.world().reset_counters();
        Self {
            interfaces: nodes * SUBNETS,
            api,
            door,
            shutdown,
            running,
        }
    }

    /// An interface in each subnet on each node.
    fn wish(&self) {
        let subnets = (0..SUBNETS).map(|number| subnet(number).as_str().into());
        let spec = NodeEniSpec {
            node_selector: label(),
            subnet_ids: subnets.collect(),
            security_group_names: vec!["multus".to_owned()],
            ..NodeEniSpec::default()
        };
        self.api.store().wish(NodeEni::new(NAME, spec));
    }

    /// Waits until so many are attached, and says how long that took.
    async fn until_attached(&self, count: usize) -> Duration {
        self.until(|fleet| fleet.attached() >= count).await
    }

    async fn until(&self, accept: impl Fn(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !accept(self) {
            assert!(begun.elapsed() < Duration::from_secs(7_200), "never");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        begun.elapsed()
    }

    fn attached(&self) -> usize {
        let store = self.api.store();
        store.records().filter(|one| is_attached(one)).count()
    }

    /// What was called in `time` from now.
    async fn calls_in(&self, time: Duration) -> Calls {
        self.door.world().reset_counters();
        tokio::time::sleep(time).await;
        self.calls()
    }

    fn calls(&self) -> Calls {
        let world = self.door.world();
        let counters = world.counters().iter();
        counters
            .map(|(action, codes)| (action.clone(), codes.values().sum()))
            .collect()
    }

    /// How many calls EC2 refused for their rate.
    fn throttled(&self) -> u64 {
        let world = self.door.world();
        let codes = world.counters().values().flatten();
        let throttled = codes.filter(|(code, _)| code.as_str() == "RequestLimitExceeded");
        throttled.map(|(_, count)| count).sum()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

/// Seconds that the bucket of one call for each interface takes.
fn bound(interfaces: usize) -> f64 {
    (number(interfaces) - BURST * SHARE) / (REFILL * SHARE)
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// Runs on a paused clock.
fn on_a_paused_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test)
}

fn label() -> BTreeMap<String, String> {
    BTreeMap::from([("ng".to_owned(), "multi".to_owned())])
}

fn is_attached(record: &NodeEniAttachment) -> bool {
    let status = record.status.as_ref();
    let ec2 = status.and_then(|status| status.ec2.as_ref());
    ec2.is_some_and(|ec2| ec2.state == Ec2State::Attached)
}

fn subnet(number: usize) -> ec2_sim::SubnetId {
    ec2_sim::SubnetId::parse(&format!("subnet-{number:08x}")).unwrap()
}

fn instance(number: usize) -> String {
    format!("i-{number:08x}")
}

/// Two large subnets in one zone, and an instance for each node.
fn world(nodes: usize) -> World {
    let subnets = (0..SUBNETS).map(|number| SubnetSpec {
        id: Some(subnet(number)),
        vpc: None,
        zone: "a".to_owned(),
        cidr: ipnet::Ipv4Net::new(
            Ipv4Addr::new(10, 0, if number == 0 { 0 } else { 128 }, 0),
            17,
        )
        .unwrap(),
        ipv6_cidr: None,
        tags: BTreeMap::new(),
    });
    let instances = (0..nodes).map(|number| InstanceSpec {
        id: Some(ec2_sim::InstanceId::parse(&instance(number)).unwrap()),
        ..InstanceSpec::new("m5.4xlarge", &subnet(number % SUBNETS))
    });
    let settings = Settings {
        attach_ms: Duration::from_secs(2),
        latency_ms: Duration::from_millis(50),
        buckets: true,
        ..Settings::default()
    };
    WorldSpec {
        settings,
        vpcs: vec![VpcSpec {
            id: Some(ec2_sim::VpcId::parse("vpc-00000001").unwrap()),
            cidr: "10.0.0.0/16".parse().unwrap(),
            ipv6_cidr: None,
            tags: BTreeMap::new(),
        }],
        subnets: subnets.collect(),
        security_groups: vec![GroupSpec {
            id: Some(ec2_sim::GroupId::parse("sg-00000001").unwrap()),
            name: "multus".to_owned(),
            vpc: None,
            tags: BTreeMap::new(),
        }],
        instances: instances.collect(),
        ..WorldSpec::default()
    }
    .build(epoch())
    .unwrap()
}
