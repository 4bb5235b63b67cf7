//! What a machine could not do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What a machine could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Debian has no kernel of the series, or apt's lists are empty.
    #[error("apt knows no kernel linux-image-{series}.*-amd64: run `apt-get update`, on Debian")]
    NoKernel {
        /// Such as `6.1`.
        series: String,
    },
    /// A file of the cache or of a machine could not be used.
    #[error("read or write {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program is missing.
    #[error("start {program} (of the Debian package {package})")]
    Start {
        /// Which one.
        program: &'static str,
        /// Whose.
        package: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A program of the preparation, or one in a machine, failed.
    #[error("{what}: {status}\n{output}")]
    Failed {
        /// What it was to do.
        what: String,
        /// How it ended.
        status: String,
        /// What it wrote.
        output: String,
    },
    /// The machine did not come to the end of the command.
    #[error(
        "{kernel} did not come to the end of the command, for which it had {deadline:?}; its console:\n{console}"
    )]
    Unfinished {
        /// The kernel's release.
        kernel: String,
        /// The patience.
        deadline: Duration,
        /// All that it wrote.
        console: String,
    },
    /// The machine has ended, or its time is over.
    #[error("{kernel} was gone before it did this: {what}; its console:\n{console}")]
    Gone {
        /// The kernel's release.
        kernel: String,
        /// What it was to do.
        what: String,
        /// All that it and QEMU wrote.
        console: String,
    },
    /// The machine restarted by itself: its kernel has panicked, most likely.
    #[error("{kernel} restarted before it did this: {what}; its console:\n{console}")]
    Restarted {
        /// The kernel's release.
        kernel: String,
        /// What it was to do.
        what: String,
        /// All that it and QEMU wrote.
        console: String,
    },
    /// QEMU refused something, in its words.
    #[error("QEMU refused {command}: {reason}")]
    Refused {
        /// The command, with its arguments.
        command: String,
        /// Why.
        reason: String,
    },
    /// A socket to a machine could not be used.
    #[error("{what}")]
    Socket {
        /// The attempt.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Every root port has a card.
    #[error("none of the machine's {ports} ports is free for a card")]
    NoPort {
        /// How many it has.
        ports: usize,
    },
    /// EC2 could not be simulated.
    #[error("simulate EC2 for a machine")]
    Cloud {
        /// Why not.
        source: Box<crate::Error>,
    },
}
