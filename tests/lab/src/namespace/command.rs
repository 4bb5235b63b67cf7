//! A command whose process is born inside a namespace.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ExitStatus, Output, Stdio};

use crate::error::Error;

use super::Namespace;

/// A [`std::process::Command`] whose process is born inside a namespace.
///
/// It dies with the namespace at the latest.
#[derive(Debug)]
pub struct Command {
    namespace: Namespace,
    inner: std::process::Command,
}

impl Command {
    pub(super) fn new(namespace: &Namespace, program: impl AsRef<OsStr>) -> Self {
        Self {
            namespace: namespace.clone(),
            inner: std::process::Command::new(program),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.inner.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(key, value);
        self
    }

    /// Sets the standard input.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.inner.stdin(stdin);
        self
    }

    /// Sets the standard output.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.inner.stdout(stdout);
        self
    }

    /// Sets the standard error.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.inner.stderr(stderr);
        self
    }

    /// Keeps the terminal's Ctrl-C away from the process.
    pub fn own_process_group(mut self) -> Self {
        self.inner.process_group(0);
        self
    }

    /// Starts the process. Its `Child` works as usual: `kill`, `wait`, and `id` are ours.
    pub fn spawn(mut self) -> Result<Child, Error> {
        let spawned = self.namespace.run(|| self.inner.spawn())?;
        spawned.map_err(|source| self.failed(source))
    }

    /// Runs the process to its end and collects what it wrote.
    pub fn output(mut self) -> Result<Output, Error> {
        let output = self.namespace.run(|| self.inner.output())?;
        output.map_err(|source| self.failed(source))
    }

    /// Runs the process to its end.
    pub fn status(mut self) -> Result<ExitStatus, Error> {
        let status = self.namespace.run(|| self.inner.status())?;
        status.map_err(|source| self.failed(source))
    }

    /// Runs the process to a good end and gives what it wrote.
    ///
    /// # Errors
    ///
    /// A bad end is an error that carries what was written to standard error.
    pub fn read(self) -> Result<String, Error> {
        let line = format!("{:?}", self.inner);
        let output = self.output()?;
        crate::error::good_end(&line, &output)
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Spawn {
            program: self.inner.get_program().to_string_lossy().into_owned(),
            source,
        }
    }
}
