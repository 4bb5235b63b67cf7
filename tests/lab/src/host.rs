//! Other hosts of the VPC, for tests to talk from and to.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::cable::connect;
use crate::cloud::{Cloud, port};
use crate::error::Error;
use crate::fabric::PortId;
use crate::namespace::{Holder, Namespace};
use crate::node::run;
use crate::switch::Switch;
use crate::vpc::Subnet;

/// An EC2 instance that is no node, with its primary interface in the fabric.
///
/// Lives as long as the lab; dereferences to its [`Namespace`], so `host.udp_bind(..)` and
/// `host.command("ping")` work.
#[derive(Clone, Debug)]
pub struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    holder: Holder,
    instance: String,
    eni: PortId,
    mac: String,
    address: Ipv4Addr,
    address6: Ipv6Addr,
}

impl Host {
    /// Starts an instance in the subnet of this name and plugs it in.
    pub(crate) fn start(
        name: &str,
        subnet: &str,
        outer: &Namespace,
        vpc: &Namespace,
        cloud: &Cloud,
        switch: &Switch,
    ) -> Result<Self, Error> {
        let subnet = Subnet::find(subnet)?;
        let holder = Holder::new(name, Some(outer))?;
        let inside = holder.namespace();
        let (instance, interface) = cloud.add_instance(name, subnet)?;
        switch.refresh(|| cloud.network());
        let eni = port(&interface.id);
        let address = *interface
            .addresses
            .first()
            .expect("a primary interface has an address");
        let [.., c, d] = address.octets();
        connect(
            switch,
            vpc,
            &eni,
            &format!("host{c}-{d}"),
            inside,
            "eth0",
            &interface.mac,
        )?;
        run(inside, "link set eth0 up")?;
        run(inside, &format!("address add {address}/24 dev eth0"))?;
        run(
            inside,
            &format!("route add default via {}", subnet.gateway()),
        )?;
        let address6 = *interface
            .ipv6_addresses
            .first()
            .expect("add_instance assigns one");
        run(inside, &format!("address add {address6}/64 dev eth0 nodad"))?;
        run(inside, "-6 route add default via fe80:ec2::1 dev eth0")?;
        let mac = interface.mac.clone();
        Ok(Self(Arc::new(Inner {
            holder,
            instance: instance.as_str().to_owned(),
            eni,
            mac,
            address,
            address6,
        })))
    }

    /// Its EC2 instance.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// Its primary ENI.
    pub fn eni(&self) -> &str {
        &self.0.eni.0
    }

    /// The MAC address of its primary ENI.
    pub fn mac(&self) -> &str {
        &self.0.mac
    }

    /// Its IPv4 address.
    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    /// Its IPv6 address.
    pub fn address6(&self) -> Ipv6Addr {
        self.0.address6
    }
}

impl std::ops::Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        self.0.holder.namespace()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0.address)
    }
}
