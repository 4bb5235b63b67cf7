//! EC2, its metadata service, STS and a queue of its events, simulated: strict where EC2 is strict.
//!
//! # In-process
//! [`World`] is the model: no input, no output, no clock. [`WorldSpec::build`] makes one;
//! [`World::call`] takes a [`Request`] and the time, exactly as a client of the API would; typed calls
//! ([`World::create_interface`], [`World::attach_interface`], [`World::detach_interface`]) save the
//! XML. [`World::advance`] lets happen what is due, [`World::next_due`] says when that is,
//! [`World::events_after`] what happened. [`World::interfaces`] and its neighbours show the truth,
//! whatever readers of the API can see yet.
//!
//! # Over HTTP
//! [`Server::start`] serves a world on a listener (also one of another network namespace):
//! [`Server::url`] is an endpoint for any AWS SDK, [`Server::events`] what the lab plugs its cables by,
//! [`Server::with_world`] the way to look inside. [`imds::serve`] is the metadata service of one
//! instance. The JSON API under `/_control` is in [`control`].
//!
//! # Where EC2 leaves a choice
//! - **Client tokens** stay burnt: repeating a create whose interface was deleted gets the old answer,
//!   and the next call that names the interface gets `InvalidNetworkInterfaceID.NotFound`.
//! - **Dry run**: ids must be well formed and exist; states and limits are not looked at.
//! - **Detach while `detaching`** is agreed to and changes nothing, unless forced: then it also ends an
//!   attachment that is stuck.
//! - **Queues** hold what EventBridge tells of instances; an answer has no MD5 of its bodies, which no
//!   SDK insists on.
//! - **ENA queues** are changed whatever the instance does; the words of their refusals are ours.
//! - **Elastic IPs** need no gateway, and one of an interface that is deleted is free again.
//! - **Limits** are checked after zone and VPC, and those after the device index.
//! - **Status** of an interface follows its attachment: `attaching`, `in-use`, `detaching`.
//! - **Read lag** concerns Describe calls of interfaces, instances, routes and Elastic IPs; networks are always current.
#![forbid(unsafe_code)]

mod action;
pub mod bridge;
mod bucket;
pub mod control;
pub mod elastic_ip;
mod error;
pub mod event;
pub mod fault;
mod filter;
mod ids;
pub mod imds;
mod instance_type;
mod lifecycle;
mod metadata;
pub mod model;
mod page;
pub mod pool;
pub mod queue;
mod request;
pub mod route_table;
pub mod server;
mod settings;
pub mod spec;
mod sqs;
mod table;
mod token;
mod wire;
mod world;
mod xml;

pub use self::action::{AttachNetworkInterface, CreateNetworkInterface};
pub use self::bridge::Warning;
pub use self::elastic_ip::ElasticIp;
pub use self::error::{ApiError, Error};
pub use self::event::{Event, What};
pub use self::fault::{Effect, Fault};
pub use self::ids::{
    AllocationId, AssociationId, AttachmentId, EniId, GroupId, InstanceId, RouteTableId, SubnetId,
    VpcId,
};
pub use self::instance_type::InstanceType;
pub use self::model::{AttachmentState, Instance, InstanceState, Interface, Slot};
pub use self::request::{Request, Response};
pub use self::route_table::{RouteTable, Target};
pub use self::server::{Clock, Options, Server};
pub use self::settings::Settings;
pub use self::spec::{
    ElasticIpSpec, GroupSpec, InstanceSpec, RouteTableSpec, SubnetSpec, VpcSpec, WorldSpec,
};
pub use self::world::{Counters, Reply, World};
