//! The story that the demo tells and the tests assert.
#![forbid(unsafe_code)]

mod programs;
pub mod story;

pub use programs::{binary, example};
