//! The integration tests: one binary, a module for each feature.

// Tells clippy that helper functions are test code, too.
#![cfg(test)]

mod agent;
mod agent_node;
mod api;
mod bpf_attach;
mod bpf_bench;
mod bpf_ipvlan;
mod bpf_pods;
mod bpf_stacks;
mod bpf_world;
mod cases;
mod chart;
mod controller;
mod ec2_clients;
mod ec2_wire;
mod fabric;
mod guard;
mod kernels;
mod lab;
mod look;
mod planner;
mod steering;
mod vm;
