//! The EC2 of a course: a served world with instances, and what it was asked.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ec2_sim::{
    GroupId, GroupSpec, InstanceId, InstanceSpec, Options, Server, Settings, SubnetId, SubnetSpec,
    VpcId, VpcSpec, What, WorldSpec,
};
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::calls::Calls;
use crate::course::Course;

/// What a call takes.
const LATENCY: Duration = Duration::from_millis(50);
const VPC: &str = "vpc-00000001";
const PRIMARY: &str = "subnet-00000001";
/// Holds seven interfaces besides its primary one.
const INSTANCE_TYPE: &str = "m5.4xlarge";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ZONE: &str = "us-east-1a";
pub(crate) const GROUP: &str = "multus";

/// A simulated EC2 that runs as long as this value lives.
pub(crate) struct Ec2 {
    server: Server,
    _runtime: Runtime,
}

impl Ec2 {
    pub(crate) fn start(course: &Course) -> Result<Self> {
        let runtime = Runtime::new().context("start a runtime")?;
        let world = world(course)?.build(Timestamp::now())?;
        let listener = TcpListener::bind("127.0.0.1:0").context("find a port for EC2")?;
        let serve = Server::start(world, listener, Options::default());
        let server = runtime.block_on(serve).context("serve EC2")?;
        Ok(Self {
            server,
            _runtime: runtime,
        })
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Starts one more instance.
    pub(crate) fn add_instance(&self, number: usize) -> Result<()> {
        let spec = instance(number)?;
        self.server
            .with_world(|world, now| world.add_instance(spec, now))?;
        Ok(())
    }

    /// All calls since the start.
    pub(crate) fn calls(&self) -> Calls {
        self.server
            .with_world(|world, _| Calls::of(world.counters()))
    }

    /// How many interfaces there are, primary ones among them.
    pub(crate) fn interfaces(&self) -> usize {
        self.server
            .with_world(|world, _| world.interfaces().count())
    }

    /// The present, to tell later what came after it.
    pub(crate) fn mark(&self) -> Mark {
        self.server.with_world(|world, _| Mark {
            calls: Calls::of(world.counters()),
            sequence: world.last_sequence(),
        })
    }

    /// When the last of `count` interfaces became attached; `None` before.
    pub(crate) fn attached(&self, since: &Mark, count: usize) -> Option<Timestamp> {
        self.moment(since, count, |what| matches!(what, What::Attached(_)))
    }

    /// When the last of `count` interfaces was deleted; `None` before.
    pub(crate) fn deleted(&self, since: &Mark, count: usize) -> Option<Timestamp> {
        self.moment(since, count, |what| matches!(what, What::EniDeleted { .. }))
    }

    fn moment(
        &self,
        since: &Mark,
        count: usize,
        is_one: impl Fn(&What) -> bool,
    ) -> Option<Timestamp> {
        let events = self
            .server
            .with_world(|world, _| world.events_after(since.sequence));
        let mut those = events.into_iter().filter(|event| is_one(&event.what));
        those.nth(count.checked_sub(1)?).map(|event| event.at)
    }
}

/// A moment in the life of an EC2.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) calls: Calls,
    sequence: u64,
}

/// The ID of the subnet `number`, from 1, for the interfaces that are measured.
pub(crate) fn subnet_id(number: usize) -> String {
    format!("subnet-{:08x}", 0xa0 + number)
}

pub(crate) fn instance_id(number: usize) -> String {
    format!("i-{number:08x}")
}

fn world(course: &Course) -> Result<WorldSpec> {
    let subnet = |id: &str, number: usize| {
        anyhow::Ok(SubnetSpec {
            id: Some(SubnetId::parse(id)?),
            vpc: None,
            zone: ZONE.to_owned(),
            // 8,187 addresses.
            cidr: format!("10.0.{}.0/19", number * 32).parse()?,
            ipv6_cidr: None,
            tags: BTreeMap::new(),
        })
    };
    let mut subnets = vec![subnet(PRIMARY, 0)?];
    for number in 1..=course.subnets {
        subnets.push(subnet(&subnet_id(number), number)?);
    }
    Ok(WorldSpec {
        region: Some(REGION.to_owned()),
        settings: Settings {
            latency_ms: LATENCY,
            buckets: course.buckets,
            // An account that has so many nodes has asked for more than EC2's 5,000.
            interface_quota: 20_000,
            ..Settings::default()
        },
        vpcs: vec![VpcSpec {
            id: Some(VpcId::parse(VPC)?),
            cidr: "10.0.0.0/16".parse()?,
            ipv6_cidr: None,
            tags: BTreeMap::new(),
        }],
        subnets,
        security_groups: vec![GroupSpec {
            id: Some(GroupId::parse("sg-00000001")?),
            name: GROUP.to_owned(),
            vpc: None,
            tags: BTreeMap::new(),
        }],
        instances: (1..=course.nodes).map(instance).collect::<Result<_>>()?,
        ..WorldSpec::default()
    })
}

fn instance(number: usize) -> Result<InstanceSpec> {
    Ok(InstanceSpec {
        id: Some(InstanceId::parse(&instance_id(number))?),
        ..InstanceSpec::new(INSTANCE_TYPE, &SubnetId::parse(PRIMARY)?)
    })
}
