//! The simulator, held to EC2's rules: as a model, over HTTP, and as a metadata service.
#![expect(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod bench;
mod client;
mod clients;
mod faults;
mod http;
mod metadata;
mod paging;
mod properties;
mod queue;
mod strict;
mod time;
