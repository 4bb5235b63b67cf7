//! The lab's EC2: a simulated region with the lab's VPC, served inside and reachable from the host.

mod world;

pub use world::SECURITY_GROUPS;
pub(crate) use world::{network_of, port};

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use ec2_sim::{
    AttachNetworkInterface, CreateNetworkInterface, EniId, InstanceId, InstanceSpec, Request,
    Server, Slot, SubnetId,
};
use tokio::runtime::{Builder, Runtime};

use crate::config::{Config, NodeConfig};
use crate::control_plane::GATEWAY;
use crate::error::Error;
use crate::fabric::Network;
use crate::forward::Forward;
use crate::namespace::Namespace;
use crate::vpc::Subnet;

use world::{instance_of, name_tag, world};

/// Where EC2's own examples and our charts put a local endpoint.
const PORT: u16 = 4566;
/// The version of EC2's API.
const API: &str = "2016-11-15";
/// Where the metadata service of every instance is.
const METADATA: &str = "169.254.169.254";
/// How long calls that are being answered may still take when the lab ends.
const DRAIN: Duration = Duration::from_secs(2);

/// The running simulator.
#[derive(Debug)]
pub(crate) struct Cloud {
    server: Server,
    /// From the host into the namespace where the server is, if it is in one.
    forward: Option<Forward>,
    runtime: Option<Runtime>,
}

impl Cloud {
    /// Serves a world with an instance for each node.
    pub(crate) fn start(config: &Config, outer: &Namespace) -> Result<Self, Error> {
        let listener = outer.tcp_bind((GATEWAY, PORT)).map_err(failed)?;
        let inside = SocketAddr::new(GATEWAY.parse().expect("GATEWAY is an address"), PORT);
        let mut cloud = Self::serve(config, listener)?;
        cloud.forward = Some(Forward::new(outer, inside)?);
        Ok(cloud)
    }

    /// Serves such a world on the host itself, where any number of them may be.
    pub(crate) fn start_on_host(config: &Config) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        Self::serve(config, listener)
    }

    fn serve(config: &Config, listener: TcpListener) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(failed)?;
        let world = world(config)?;
        let server = thread::scope(|scope| {
            // A test may itself run on a runtime, whose threads may not wait for another one.
            let start = scope.spawn(|| {
                runtime.block_on(Server::start(world, listener, ec2_sim::Options::default()))
            });
            start
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Ok(Self {
            server: server.map_err(failed)?,
            forward: None,
            runtime: Some(runtime),
        })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// EC2's endpoint for programs on the host.
    pub(crate) fn url(&self) -> String {
        match &self.forward {
            Some(forward) => format!("http://{}", forward.address()),
            None => self.server.url(),
        }
    }

    /// EC2's endpoint for programs on nodes and in pods.
    pub(crate) fn url_inside() -> String {
        format!("http://{GATEWAY}:{PORT}")
    }

    /// Calls `handle` for everything that happens, one after the other, until the lab ends.
    pub(crate) fn follow(&self, mut handle: impl FnMut(&ec2_sim::What) + Send + 'static) {
        let mut events = self.server.events();
        self.runtime().spawn(async move {
            while let Ok(event) = events.recv().await {
                tokio::task::block_in_place(|| handle(&event.what));
            }
        });
    }

    /// Answers for the metadata of `instance` inside its namespaces.
    pub(crate) fn serve_metadata(
        &self,
        instance: &str,
        inside: &Namespace,
    ) -> Result<ec2_sim::imds::Imds, Error> {
        inside
            .command("ip")
            .args(["address", "add", &format!("{METADATA}/32"), "dev", "lo"])
            .read()?;
        let listener = inside.tcp_bind((METADATA, 80)).map_err(failed)?;
        self.answer_metadata(instance, listener)
    }

    /// Answers for the metadata of `instance` at a listener.
    pub(crate) fn answer_metadata(
        &self,
        instance: &str,
        listener: TcpListener,
    ) -> Result<ec2_sim::imds::Imds, Error> {
        let instance = InstanceId::parse(instance).map_err(failed)?;
        let _on_runtime = self.runtime().enter();
        ec2_sim::imds::serve(&self.server, instance, listener).map_err(failed)
    }

    /// Starts the instance of one more node.
    pub(crate) fn add_node(&self, node: &NodeConfig) -> Result<(), Error> {
        let spec = instance_of(node)?;
        self.server
            .with_world(|world, now| world.add_instance(spec, now).map(drop).map_err(failed))
    }

    /// Starts one more instance, as if it had run for long; gives it and its primary interface,
    /// which has an IPv6 address, too.
    pub(crate) fn add_instance(
        &self,
        name: &str,
        subnet: &Subnet,
    ) -> Result<(InstanceId, ec2_sim::Interface), Error> {
        self.server.with_world(|world, now| {
            let subnet = SubnetId::parse(subnet.id).map_err(failed)?;
            let spec = InstanceSpec {
                tags: name_tag(name),
                ..InstanceSpec::new("m5.xlarge", &subnet)
            };
            let id = world.add_instance(spec, now).map_err(failed)?;
            let instance = world.instance(&id).expect("it was added just now");
            let eni = instance
                .interfaces
                .values()
                .next()
                .expect("an instance has a primary interface")
                .clone();
            let assign = Request::new("AssignIpv6Addresses")
                .with("Version", API)
                .with("NetworkInterfaceId", &eni)
                .with("Ipv6AddressCount", 1);
            world.call(&assign, now).map_err(failed)?;
            let primary = world.interface(&eni).cloned();
            Ok((id, primary.expect("an interface that is attached exists")))
        })
    }

    /// Creates an ENI in a subnet and attaches it, as the controller would; gives it.
    pub(crate) fn attach(
        &self,
        subnet: &Subnet,
        instance: &str,
        index: u32,
    ) -> Result<ec2_sim::Interface, Error> {
        self.server.with_world(|world, now| {
            let subnet = SubnetId::parse(subnet.id).map_err(failed)?;
            let instance = InstanceId::parse(instance).map_err(failed)?;
            let create = CreateNetworkInterface {
                ipv6_address_count: 1,
                ..CreateNetworkInterface::in_subnet(subnet)
            };
            let eni = world.create_interface(&create, None, now).map_err(failed)?;
            let slot = Slot { card: 0, index };
            world
                .attach_interface(
                    &AttachNetworkInterface {
                        interface: eni.clone(),
                        instance,
                        slot,
                    },
                    now,
                )
                .map_err(failed)?;
            Ok(world
                .interface(&eni)
                .cloned()
                .expect("it was created just now"))
        })
    }

    /// Detaches an ENI and leaves it to the caller to delete it.
    pub(crate) fn detach(&self, eni: &str) -> Result<(), Error> {
        self.server.with_world(|world, now| {
            let eni = EniId::parse(eni).map_err(failed)?;
            let attached = world
                .interface(&eni)
                .and_then(|interface| interface.attachment.as_ref());
            let Some(attachment) = attached.map(|attachment| attachment.id.clone()) else {
                return Ok(());
            };
            world
                .detach_interface(&attachment, false, now)
                .map_err(failed)
        })
    }

    /// What the fabric needs to know.
    pub(crate) fn network(&self) -> Network {
        network_of(&self.server)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("the runtime is taken only by drop")
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        // A runtime may not be waited for on a thread of another runtime, such as an async test's.
        let ended = thread::spawn(move || runtime.shutdown_timeout(DRAIN)).join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Cloud {
        source: source.into(),
    }
}
