//! The AWS client against the simulated EC2, over EC2's own wire protocol.

mod codes;
mod faults;
mod life;
mod pages;
mod world;
