//! The controller: decides which interfaces nodes should have, and has EC2 make them.
//!
//! The unit of work is the node. `desired` says what it should have, `plan` what to do next, `apply`
//! does it, `observe` looks at EC2, `status` tells what became of it. [`run()`] is all of it, with the
//! API server and EC2 given from outside; dropping its future is a crash, and a crash loses nothing.
#![forbid(unsafe_code)]

pub mod action;
mod apply;
mod cache;
pub mod config;
mod controller;
pub mod desired;
pub mod elastic_ips;
mod gc;
pub mod holders;
pub mod kubernetes;
mod lease;
pub mod memory;
pub mod news;
mod observe;
pub mod pace;
pub mod plan;
mod pool;
mod queue;
mod reconcile;
pub mod rivals;
pub mod routes;
mod run;
pub mod status;
mod summary;
pub mod telemetry;

pub use crate::{
    config::Config,
    run::{Error, run, run_listening},
};
