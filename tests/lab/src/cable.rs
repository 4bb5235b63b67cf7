//! Plugs and pulls the nodes' cables as EC2 attaches and detaches their ENIs.

use std::collections::BTreeMap;
use std::sync::Arc;

use ec2_sim::event::Plug;
use ec2_sim::{InstanceState, Server, What};

use crate::cloud::{network_of, port};
use crate::error::{Chain, Error};
use crate::fabric::PortId;
use crate::namespace::Namespace;
use crate::node;
use crate::nodes::Nodes;
use crate::packet::disable_offloads;
use crate::switch::Switch;

/// Bytes of payload, as ENA has.
const MTU: u16 = 9001;

/// Follows the events of EC2.
pub(crate) struct Cabling {
    pub(crate) server: Server,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) switch: Switch,
    /// Where the far ends are.
    pub(crate) vpc: Namespace,
    /// The far end of each ENI that is plugged in.
    pub(crate) ends: BTreeMap<PortId, String>,
    pub(crate) next: u32,
    pub(crate) report: Box<dyn Fn(&str) + Send>,
}

impl Cabling {
    pub(crate) fn handle(&mut self, what: &What) {
        match what {
            What::Attaching(plug) => self.attach(plug),
            What::Detached(plug) => self.detach(&port(&plug.eni)),
            What::EniDeleted { eni, .. } => self.detach(&port(eni)),
            What::InstanceState {
                instance, state, ..
            } => match state {
                InstanceState::Stopping
                | InstanceState::Stopped
                | InstanceState::ShuttingDown
                | InstanceState::Terminated => {
                    if let Some(node) = self.nodes.of_instance(instance.as_str()) {
                        self.nodes.take_down(&node.name);
                    }
                }
                InstanceState::Pending | InstanceState::Running => {}
            },
            What::EniCreated { .. }
            | What::Attached(_)
            | What::Detaching(_)
            | What::AddressesChanged(_)
            | What::AttributeChanged { .. } => {}
        }
        self.switch.refresh(|| network_of(&self.server));
    }

    fn attach(&mut self, plug: &Plug) {
        let Some(config) = self.nodes.of_instance(plug.instance.as_str()) else {
            return;
        };
        let name = format!(
            "{}{}",
            config.interface_prefix,
            plug.device_index + 100 * plug.network_card
        );
        let plugged = self.nodes.namespace(&config.name).and_then(|node| {
            let far = format!("wire{}", self.next);
            self.next += 1;
            connect(
                &self.switch,
                &self.vpc,
                &port(&plug.eni),
                &far,
                &node,
                &name,
                &plug.mac,
            )
            .map(|()| far)
        });
        match plugged {
            Ok(far) => drop(self.ends.insert(port(&plug.eni), far)),
            Err(error) => (self.report)(&format!("no cable for {}: {}", plug.eni, Chain(&error))),
        }
    }

    fn detach(&mut self, port: &PortId) {
        self.switch.unplug(port);
        if let Some(far) = self.ends.remove(port) {
            // Gone already when its node was taken down, and with it the other end.
            let _ = node::run(&self.vpc, &format!("link delete {far}"));
        }
    }
}

/// Lays a cable from a port of the switch to a new interface, which is down.
pub(crate) fn connect(
    switch: &Switch,
    vpc: &Namespace,
    port: &PortId,
    far: &str,
    node: &Namespace,
    name: &str,
    mac: &str,
) -> Result<(), Error> {
    let failed = |source| Error::Wire {
        interface: name.to_owned(),
        source,
    };
    // The far end is made ready first, so that the other one is complete when it appears.
    let spare = format!("{far}n");
    node::run(
        vpc,
        &format!("link add {far} mtu {MTU} type veth peer name {spare} mtu {MTU} address {mac}"),
    )?;
    vpc.run(|| disable_offloads(&spare))?.map_err(failed)?;
    node::run(vpc, &format!("link set {far} up"))?;
    switch.plug(port, vpc, far)?;
    node::give(vpc, &spare, node, name)
}

/// Makes the namespace of the far ends deaf and mute: it only carries frames.
pub(crate) fn silence(vpc: &Namespace) -> Result<(), Error> {
    for scope in ["all", "default"] {
        vpc.run(|| node::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1"))??;
    }
    Ok(())
}
