//! Models behind the controller's doors: EC2 in this process, and a small network in it.
#![forbid(unsafe_code)]

pub mod door;
pub mod small_cloud;
