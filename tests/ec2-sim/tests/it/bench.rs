//! A small region to try calls on, in which every id is known.

use std::time::Duration;

use ec2_sim::{Request, Settings, World, WorldSpec};
use jiff::Timestamp;

/// Subnet in zone a.
pub(crate) const A: &str = "subnet-0000000a";
/// Subnet in zone b.
pub(crate) const B: &str = "subnet-0000000b";
/// Subnet in zone a with 11 usable addresses.
pub(crate) const TINY: &str = "subnet-0000000c";
/// Subnet in zone a of another VPC.
pub(crate) const FOREIGN: &str = "subnet-0000000d";
/// Subnet in zone a with IPv6.
pub(crate) const SIX: &str = "subnet-00000006";
/// A t3.medium in zone a: three interfaces, six addresses each.
pub(crate) const I: &str = "i-00000001";
/// A stopped t3.medium in zone a.
pub(crate) const STOPPED: &str = "i-00000002";
/// A p5.48xlarge in zone a: 32 cards with two interfaces each.
pub(crate) const BIG: &str = "i-00000003";
/// A t3.micro in zone a: two interfaces.
pub(crate) const MICRO: &str = "i-00000004";
/// A pending t3.medium in zone a.
pub(crate) const PENDING: &str = "i-00000005";

/// An m6i.large in zone a: two ENA queues for each interface, six for all.
pub(crate) const QUEUES: &str = "i-00000006";

const WORLD: &str = r#"
vpcs:
  - {id: vpc-00000001, cidr: 10.0.0.0/16, ipv6_cidr: "2001:db8:1::/56"}
  - {id: vpc-00000002, cidr: 10.9.0.0/16}
subnets:
  - {id: subnet-0000000a, zone: us-east-1a, cidr: 10.0.1.0/24, tags: {Name: a}}
  - {id: subnet-0000000b, zone: us-east-1b, cidr: 10.0.2.0/24, tags: {Name: b}}
  - {id: subnet-0000000c, zone: us-east-1a, cidr: 10.0.3.0/28}
  - {id: subnet-0000000d, zone: us-east-1a, cidr: 10.9.1.0/24, vpc: vpc-00000002}
  - {id: subnet-00000006, zone: us-east-1a, cidr: 10.0.6.0/24, ipv6_cidr: "2001:db8:1:6::/64"}
security_groups:
  - {id: sg-00000001, name: default}
  - {id: sg-00000002, name: multus}
  - {id: sg-00000009, name: foreign, vpc: vpc-00000002}
route_tables:
  - {id: rtb-00000001, gateways: {10.200.0.0/16: tgw-00000001}}
instances:
  - {id: i-00000001, instance_type: t3.medium, subnet: subnet-0000000a, private_ip: 10.0.1.10, mac: "06:00:00:00:00:01"}
  - {id: i-00000002, instance_type: t3.medium, subnet: subnet-0000000a, private_ip: 10.0.1.20, state: stopped}
  - {id: i-00000003, instance_type: p5.48xlarge, subnet: subnet-0000000a, private_ip: 10.0.1.30}
  - {id: i-00000004, instance_type: t3.micro, subnet: subnet-0000000a, private_ip: 10.0.1.40}
  - {id: i-00000005, instance_type: t3.medium, subnet: subnet-0000000a, private_ip: 10.0.1.50, state: pending}
  - {id: i-00000006, instance_type: m6i.large, subnet: subnet-0000000a, private_ip: 10.0.1.230}
elastic_ips:
  - {id: eipalloc-00000001, public_ip: 203.0.113.1}
  - {id: eipalloc-00000002, public_ip: 203.0.113.2, tags: {tier: edge}}
"#;

pub(crate) fn spec() -> WorldSpec {
    serde_yaml_ng::from_str(WORLD).unwrap()
}

/// A world and the moment it is at.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) now: Timestamp,
}

impl Bench {
    /// Everything happens at once, reads are current.
    pub(crate) fn instant() -> Self {
        Self::with(Settings::instant())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Self {
            world: WorldSpec { settings, ..spec() }.build(now).unwrap(),
            now,
        }
    }

    pub(crate) fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.world.advance(self.now);
    }

    /// Calls `Action Name=value Name=value`, and gives the XML.
    ///
    /// A `+` in a value stands for a space.
    pub(crate) fn ask(&mut self, call: &str) -> Result<String, ec2_sim::Error> {
        let (action, parameters) = call.split_once(' ').unwrap_or((call, ""));
        let request =
            parameters
                .split_whitespace()
                .fold(Request::new(action), |request, parameter| {
                    let (name, value) = parameter.split_once('=').unwrap();
                    request.with(name, value.replace('+', " "))
                });
        self.world
            .call(&request, self.now)
            .map(|response| response.body)
    }

    /// `OK`, or code and message of the refusal.
    pub(crate) fn say(&mut self, call: &str) -> String {
        self.ask(call)
            .map_or_else(|error| error.to_string(), |_| "OK".to_owned())
    }

    /// The text of the first `element` in the answer to a call that succeeds.
    pub(crate) fn get(&mut self, call: &str, element: &str) -> String {
        let body = self
            .ask(call)
            .unwrap_or_else(|error| panic!("{call}: {error}"));
        first(&body, element)
            .unwrap_or_else(|| panic!("{call}: no {element} in {body}"))
            .to_owned()
    }

    pub(crate) fn create(&mut self, subnet: &str) -> String {
        self.get(
            &format!("CreateNetworkInterface SubnetId={subnet}"),
            "networkInterfaceId",
        )
    }

    pub(crate) fn attach(&mut self, eni: &str, instance: &str, index: u32) -> String {
        self.get(&attach(eni, instance, index), "attachmentId")
    }

    /// Status of an interface, `attachment/status` when it is attached, `gone` when it is not there.
    pub(crate) fn status(&mut self, eni: &str) -> String {
        let Ok(body) = self.ask(&format!(
            "DescribeNetworkInterfaces NetworkInterfaceId.1={eni}"
        )) else {
            return "gone".to_owned();
        };
        let statuses: Vec<&str> = all(&body, "status");
        statuses.join("/")
    }

    pub(crate) fn state(&mut self, instance: &str) -> String {
        self.get(
            &format!("DescribeInstances InstanceId.1={instance}"),
            "name",
        )
    }

    pub(crate) fn free(&mut self, subnet: &str) -> String {
        self.get(
            &format!("DescribeSubnets SubnetId.1={subnet}"),
            "availableIpAddressCount",
        )
    }
}

pub(crate) fn attach(eni: &str, instance: &str, index: u32) -> String {
    format!(
        "AttachNetworkInterface NetworkInterfaceId={eni} InstanceId={instance} DeviceIndex={index}"
    )
}

pub(crate) fn first<'a>(body: &'a str, element: &str) -> Option<&'a str> {
    all(body, element).into_iter().next()
}

/// The texts of all elements of a name, in the order of the document.
pub(crate) fn all<'a>(body: &'a str, element: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    body.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split(&close).next())
        .collect()
}
