//! The integration tests: one binary, a module for each feature.

mod agent;
mod agent_node;
mod api;
mod ec2_clients;
mod fabric;
mod lab;
