//! A whole Kubernetes on one machine, in namespaces, in seconds.
//!
//! ```no_run
//! use lab::{Config, Lab};
//!
//! let lab = Lab::start(Config::control_plane_only(), &|line| eprintln!("{line}"))?;
//! lab.kubectl(&["get", "namespaces"])?;
//! // A kube client on the host uses `lab.kubeconfig()`.
//! # Ok::<(), lab::Error>(())
//! ```
//!
//! All of it lives in namespaces of its own: no port but one on 127.0.0.1, no file but one folder
//! below `/tmp/eniway-lab` (and a lock in the cache), no interface on the host. It ends with the [`Lab`], or with the process
//! that made it, however that ends. Any number of labs run side by side.
//!
//! Needs root and the programs of [`requirements`]; the rest is built once ([`binaries`]).

mod cable;
mod cache;
mod cgroup;
mod clients;
mod cloud;
mod component;
mod config;
mod control_plane;
mod error;
mod forward;
mod host;
mod kubelet;
mod lab;
mod namespace;
mod node;
mod nodes;
mod packet;
mod pki;
mod region;
mod requirements;
mod state;
mod switch;
mod wire;

pub mod binaries;
pub mod fabric;
pub mod images;
pub mod vm;
pub mod vpc;
pub mod wait;

pub use clients::Kubeconfigs;
pub use cloud::SECURITY_GROUPS;
pub use config::{Config, NodeConfig, NodeKind, REGION};
pub use control_plane::GATEWAY;
pub use error::{Chain, Error};
pub use host::Host;
pub use images::write_image;
pub use lab::Lab;
pub use namespace::{Command, Namespace};
pub use region::Attached;
pub use requirements::{Requirement, missing, requirements};
pub use state::sweep;
pub use wire::Wire;
