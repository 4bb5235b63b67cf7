//! The AWS client against the simulated EC2, over EC2's own wire protocol.

// Tells clippy that helper functions are test code, too.
#![cfg(test)]

mod addresses;
mod codes;
mod elastic_ips;
mod example;
mod faults;
mod life;
mod pages;
mod queue;
mod routes;
mod world;
