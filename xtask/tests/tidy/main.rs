//! The rules between modules, kept by tests: who depends on whom, which door leads where, what is pure.
#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

mod chart;
mod dependencies;
mod doors;
mod files;
mod layout;
mod source;
