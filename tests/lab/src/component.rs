//! A long-running program of the lab with its log.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::error::Error;
use crate::namespace::Command;
use crate::state::failed;

/// How much of a log goes into an error message.
const TAIL_LINES: usize = 25;

/// A program that runs until the lab, or its node, ends.
#[derive(Debug)]
pub(crate) struct Component {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Component {
    /// Starts the command with both of its outputs going to `log`.
    pub(crate) fn start(name: &str, command: Command, log: &Path) -> Result<Self, Error> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(failed(log))?;
        let errors = output.try_clone().map_err(failed(log))?;
        let child = command
            .own_process_group()
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()?;
        Ok(Self {
            name: name.to_owned(),
            log: log.to_path_buf(),
            child,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// An error once it has ended.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(Error::Ended {
                component: self.name.clone(),
                status: status.to_string(),
                log: tail(&self.log),
            }),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Kills it and waits for its end.
    pub(crate) fn stop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
