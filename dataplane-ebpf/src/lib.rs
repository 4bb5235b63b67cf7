//! The guard of an ENI: reads a packet and says whether it belongs here.
//!
//! [`packet`] parses and [`guard`] decides, both plain `no_std` code over [`packet::Bytes`], compiled
//! for the host's tests and for BPF alike. For BPF, `programs` reads packets, searches the maps and
//! counts; the objects in `bin/` give it its entry points.
#![cfg_attr(not(any(test, feature = "fixtures")), no_std)]
#![cfg_attr(not(target_arch = "bpf"), forbid(unsafe_code))]

pub mod guard;
pub mod packet;
pub mod pods;
pub mod steering;

#[cfg(target_arch = "bpf")]
mod events;
#[cfg(target_arch = "bpf")]
mod forward;
#[cfg(target_arch = "bpf")]
mod frames;
#[cfg(all(target_arch = "bpf", feature = "log"))]
mod log;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
pub mod pod_programs;
#[cfg(target_arch = "bpf")]
pub mod programs;

#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
