//! The lab's doors to EC2 and its VPC: the simulator, other hosts, ENIs and their wires.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::cable::Cabling;
use crate::cloud::Cloud;
use crate::error::Error;
use crate::host::Host;
use crate::lab::Lab;
use crate::vpc::Subnet;
use crate::wait;
use crate::wire::Wire;

/// How long a node may wait for a cable; EC2 takes a tenth of a second, the cable as long.
const PLUGGED: Duration = Duration::from_secs(10);

impl Lab {
    /// The simulated EC2: its world, its faults, its counters.
    pub fn ec2(&self) -> &ec2_sim::Server {
        self.cloud.server()
    }

    /// EC2's endpoint for programs on the host.
    pub fn ec2_url(&self) -> String {
        self.cloud.url()
    }

    /// EC2's endpoint for programs on nodes and in pods.
    pub fn ec2_url_inside(&self) -> String {
        Cloud::url_inside()
    }

    /// Starts another host of the VPC in a subnet, such as `multus-a` or `hosts-b`.
    pub fn host(&self, name: &str, subnet: &str) -> Result<Host, Error> {
        let (outer, vpc) = (self.outer.namespace(), self.vpc.namespace());
        let host = Host::start(name, subnet, outer, vpc, &self.cloud, &self.switch)?;
        // A panic elsewhere leaves no host half inserted.
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(host.clone());
        Ok(host)
    }

    /// Creates an ENI in a subnet, such as `multus-a`, and attaches it to a node, without a
    /// controller; returns once the node has the interface.
    pub fn attach_interface(
        &self,
        node: &str,
        subnet: &str,
        index: u32,
    ) -> Result<Attached, Error> {
        let inside = self.in_node(node)?;
        let config = self.nodes.config(node)?;
        let interface = self
            .cloud
            .attach(Subnet::find(subnet)?, &config.instance, index)?;
        let what = format!(
            "{node} has an interface with the MAC address {}",
            interface.mac
        );
        let name = wait::until(&what, PLUGGED, || {
            let links = inside
                .command("ip")
                .args(["-o", "link"])
                .read()
                .map_err(|error| error.to_string())?;
            let line = links.lines().find(|line| line.contains(&interface.mac));
            let name = line
                .and_then(|line| line.split([':', '@']).nth(1))
                .map(|name| name.trim().to_owned());
            name.ok_or_else(|| format!("{links}\n{}", self.logs("cabling")))
        })?;
        Ok(Attached {
            eni: interface.id.as_str().to_owned(),
            name,
            interface,
        })
    }

    /// Detaches an ENI, without a controller; does not wait.
    pub fn detach_interface(&self, eni: &str) -> Result<(), Error> {
        self.cloud.detach(eni)
    }

    /// The wire of an ENI, to look at and to put hostile frames on.
    pub fn wire(&self, eni: &str) -> Wire {
        Wire::new(self.switch.clone(), eni)
    }

    /// Lays and pulls cables from now on.
    pub(crate) fn follow_ec2(&self) {
        let mut cabling = Cabling {
            server: self.cloud.server().clone(),
            nodes: Arc::clone(&self.nodes),
            switch: self.switch.clone(),
            vpc: self.vpc.namespace().clone(),
            ends: BTreeMap::new(),
            next: 0,
            report: Box::new(report_to(self.state.log("cabling"))),
        };
        self.cloud.follow(move |what| cabling.handle(what));
    }
}

/// An ENI that the lab attached to a node.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its id.
    pub eni: String,
    /// The interface's name on the node.
    pub name: String,
    /// The ENI as EC2 knew it when it was attached.
    pub interface: ec2_sim::Interface,
}

/// Appends lines to a log.
fn report_to(log: PathBuf) -> impl Fn(&str) {
    move |line| {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log);
        // There is nobody to tell that a log cannot be written.
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
}
