//! What can go wrong while a lab is made or used, one variant for each attempt.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

/// What the lab tried and could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab makes namespaces, mounts and interfaces.
    #[error("the lab needs root: run it with sudo")]
    NotRoot,
    /// A program could not be found or built.
    #[error(transparent)]
    Binaries(#[from] crate::binaries::Error),
    /// An image could not be written.
    #[error(transparent)]
    Images(#[from] crate::images::Error),
    /// A Debian package, most often.
    #[error("the lab needs the programs {programs}: apt-get install {packages}")]
    Missing {
        /// The programs, separated by spaces.
        programs: String,
        /// The Debian packages that have them, separated by spaces.
        packages: String,
    },
    /// A file of the lab's state could not be read or written.
    #[error("read or write {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// New namespaces could not be made.
    #[error("make the namespaces of {namespace} (in a container this needs --privileged)")]
    Unshare {
        /// Whose.
        namespace: String,
        /// Why not.
        source: nix::Error,
    },
    /// A thread could not enter namespaces; after a node was taken down this is expected.
    #[error("enter the namespaces of {namespace}")]
    Enter {
        /// Whose.
        namespace: String,
        /// Why not.
        source: nix::Error,
    },
    /// A file system could not be mounted.
    #[error("mount {target}")]
    Mount {
        /// Where.
        target: PathBuf,
        /// Why not.
        source: nix::Error,
    },
    /// The first process of new namespaces ended at once.
    #[error("process 1 of {namespace} could not mount /proc")]
    Init {
        /// Whose.
        namespace: String,
    },
    /// A program could not be started.
    #[error("start {program}")]
    Spawn {
        /// Which one.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A program ended badly.
    #[error("{command}: {status}\n{output}")]
    Failed {
        /// The whole command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote.
        output: String,
    },
    /// A component ended while it was needed.
    #[error("{component} ended: {status}\n--- its last lines:\n{log}")]
    Ended {
        /// Which one, such as `kube-apiserver`.
        component: String,
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A certificate could not be made.
    #[error("make the certificate of {subject}")]
    Certificate {
        /// Whose.
        subject: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// A condition did not come true in time.
    #[error("{what}: not so after {waited:?}\n--- {detail}")]
    Timeout {
        /// The condition.
        what: String,
        /// The deadline.
        waited: Duration,
        /// What was seen last, and the last lines of the logs.
        detail: String,
    },
    /// A frame could not be sent or received.
    #[error("use the wire of {interface}")]
    Wire {
        /// The interface, or the ENI.
        interface: String,
        /// Why not.
        source: io::Error,
    },
    /// The simulated EC2 could not be started.
    #[error("start the simulated EC2")]
    Cloud {
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The lab's VPC has no such subnet.
    #[error("the lab's VPC has no subnet {name}; it has {known}")]
    NoSubnet {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// The lab has no such node.
    #[error("the lab has no node {name}; it has {known}")]
    NoNode {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: String,
    },
}

/// The standard output of a program that ended well.
pub(crate) fn good_end(command: &str, output: &Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Failed {
        command: command.to_owned(),
        status: output.status.to_string(),
        output: format!(
            "{}{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        ),
    })
}

/// Prints an error with all its causes in one line.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
