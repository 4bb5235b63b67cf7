//! EC2, its metadata service and STS, simulated.
#![forbid(unsafe_code)]

mod action;
mod bucket;
pub mod control;
mod error;
pub mod event;
pub mod fault;
mod filter;
mod ids;
mod instance_type;
mod lifecycle;
pub mod model;
mod page;
mod pool;
mod request;
pub mod server;
mod settings;
pub mod spec;
mod table;
mod token;
mod world;
mod xml;

pub use self::action::{AttachNetworkInterface, CreateNetworkInterface};
pub use self::error::{ApiError, Error};
pub use self::event::{Event, What};
pub use self::fault::{Effect, Fault};
pub use self::ids::{AttachmentId, EniId, GroupId, InstanceId, SubnetId, VpcId};
pub use self::instance_type::InstanceType;
pub use self::model::{AttachmentState, Instance, InstanceState, Interface, Slot};
pub use self::request::{Request, Response};
pub use self::server::{Clock, Options, Server};
pub use self::settings::Settings;
pub use self::spec::{GroupSpec, InstanceSpec, SubnetSpec, VpcSpec, WorldSpec};
pub use self::world::{Counters, Reply, World};
