//! Fleets in fair weather: what they cost EC2, and how near they come to the pace that it allows.

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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{api_server::ApiServer, clock, weather::Weather};

const SUBNETS: usize = 2;
/// Of EC2's request quotas.
const SHARE: f64 = 0.8;
/// The bucket of AttachNetworkInterface, which is the smallest one on the way.
const BURST: f64 = 50.0;
const REFILL: f64 = 5.0;
const QUIET: Duration = Duration::from_secs(600);

/// How often each action was called; refused by EC2's buckets or not.
type Calls = BTreeMap<String, u64>;

/// What one fleet cost.
struct Costs {
    interfaces: f64,
    took: Duration,
    calls: Calls,
    throttled: u64,
    /// In ten minutes after it.
    quiet: Calls,
    /// Writes of records and NodeENIs until all were attached.
    writes: u64,
}

impl Costs {
    /// Seconds that the buckets alone would take.
    fn bound(&self) -> f64 {
        (self.interfaces - BURST * SHARE) / (REFILL * SHARE)
    }

    fn each(&self, action: &str) -> f64 {
        let calls = self.calls.get(action).copied().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let calls = calls as f64;
        calls / self.interfaces
    }
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

fn is_attached(record: &NodeEniAttachment) -> bool {
    let status = record.status.as_ref();
    let ec2 = status.and_then(|status| status.ec2.as_ref());
    ec2.is_some_and(|ec2| ec2.state == Ec2State::Attached)
}

/// By action, and how many of all EC2 refused for their rate.
fn calls(door: &Door) -> (Calls, u64) {
    let world = door.world();
    let counters = world.counters();
    let by_action = counters
        .iter()
        .map(|(action, codes)| (action.clone(), codes.values().sum()));
    let throttled = counters.values().flatten();
    let throttled = throttled.filter(|(code, _)| code.as_str() == "RequestLimitExceeded");
    (by_action.collect(), throttled.map(|(_, count)| count).sum())
}

async fn measure(nodes: usize) -> Costs {
    clock::begin();
    let weather = Weather::new(0);
    weather.calm();
    let api = ApiServer::new(&weather);
    let door = Door::new(world(nodes), Clock::Given(clock::wall));
    let label = ("ng".to_owned(), "multi".to_owned());
    for number in 0..nodes {
        api.store().put_node(Node {
            name: format!("node{number}"),
            labels: BTreeMap::from([label.clone()]),
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
    let running = tokio::spawn(run);
    tokio::time::sleep(Duration::from_secs(5)).await;

    let spec = NodeEniSpec {
        node_selector: BTreeMap::from([label]),
        subnet_ids: (0..SUBNETS)
            .map(|number| subnet(number).as_str().into())
            .collect(),
        security_group_names: vec!["multus".to_owned()],
        ..NodeEniSpec::default()
    };
    door.world().reset_counters();
    let (begun, version) = (Instant::now(), api.store().writes());
    api.store().wish(NodeEni::new("fleet", spec));
    let all = nodes * SUBNETS;
    while api.store().records().filter(|one| is_attached(one)).count() < all {
        assert!(
            begun.elapsed() < Duration::from_secs(7_200),
            "never attached"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let took = begun.elapsed();
    let (calls_until, throttled) = calls(&door);
    let writes = api.store().writes() - version;
    // The last statuses are written.
    tokio::time::sleep(Duration::from_secs(60)).await;
    door.world().reset_counters();
    tokio::time::sleep(QUIET).await;
    let (quiet, _) = calls(&door);
    shutdown.cancel();
    running.await.unwrap().unwrap();
    Costs {
        interfaces: f64::from(u32::try_from(all).unwrap()),
        took,
        calls: calls_until,
        throttled,
        quiet,
        writes,
    }
}

/// At the pace that the share of EC2's buckets gives, three calls an interface, none refused; and
/// nothing but the clock's reads when all is well.
#[test]
fn a_fleet_is_attached_as_fast_as_ec2_allows() {
    for nodes in [100, 1_000] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let costs = runtime.block_on(measure(nodes));
        let (took, bound) = (costs.took.as_secs_f64(), costs.bound());
        println!(
            "{nodes} × {SUBNETS}: {took:.1} s of {bound:.1} s ({:.3}), {:.2} writes an interface, {:?}, quiet {:?}",
            took / bound,
            f64::from(u32::try_from(costs.writes).unwrap()) / costs.interfaces,
            costs.calls,
            costs.quiet
        );
        // What EC2 takes to attach is not the bound's.
        assert!(took - 5.0 <= 1.05 * bound, "{took} s, bound {bound} s");
        assert_eq!(costs.throttled, 0, "our buckets are smaller than EC2's");
        for action in [
            "CreateNetworkInterface",
            "AttachNetworkInterface",
            "ModifyNetworkInterfaceAttribute",
        ] {
            assert!((costs.each(action) - 1.0).abs() < f64::EPSILON, "{action}");
        }
        let changing = |calls: &Calls| {
            let mut names = calls.keys();
            names.any(|action| !action.starts_with("Describe"))
        };
        assert!(!changing(&costs.quiet), "{:?}", costs.quiet);
        // A whole read a minute; subnets and groups each fifth.
        let reads: u64 = costs.quiet.values().sum();
        assert!(reads <= 10 * 2 + 6, "{:?}", costs.quiet);
    }
}
