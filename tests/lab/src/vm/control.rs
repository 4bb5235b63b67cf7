//! Commands in a machine: the host writes one to a file that both see and its number to the second serial
//! line, and gets the number back with the exit code.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::debian::file;
use super::lines::Lines;

/// What a machine says once it takes commands.
const READY: &str = "ready";

/// The host's end of the serial line.
#[derive(Debug)]
pub(super) struct Control {
    lines: Lines,
    /// The folder that both see.
    folder: PathBuf,
    next: u32,
    ended: BTreeMap<u32, i32>,
}

/// A command that was begun in a machine.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub(super) number: u32,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Ended(i32),
    Restarted,
    Gone,
}

impl Control {
    pub(super) fn new(lines: Lines, folder: &Path) -> Self {
        Self {
            lines,
            folder: folder.to_owned(),
            next: 1,
            ended: BTreeMap::new(),
        }
    }

    /// Waits until the machine takes commands; `false` when it ended instead.
    pub(super) fn wait_ready(&mut self) -> io::Result<bool> {
        self.ended.clear();
        loop {
            match self.lines.next()? {
                None => return Ok(false),
                Some(line) if line == READY => return Ok(true),
                // What commands answered while the machine was reset.
                Some(_) => {}
            }
        }
    }

    /// Begins a shell command; others may run beside it.
    pub(super) fn start(&mut self, command: &str) -> Result<Job, Error> {
        let number = self.next;
        self.next += 1;
        let path = self.folder.join(number.to_string());
        fs::write(&path, command).map_err(file(&path))?;
        let sent = self.lines.send(&number.to_string());
        sent.map_err(|source| Error::Socket {
            what: format!("ask the machine for {command}"),
            source,
        })?;
        Ok(Job { number })
    }

    /// Waits for the end of a command.
    pub(super) fn wait(&mut self, job: Job) -> io::Result<Waited> {
        loop {
            if let Some(code) = self.ended.remove(&job.number) {
                return Ok(Waited::Ended(code));
            }
            match self.lines.next()? {
                None => return Ok(Waited::Gone),
                Some(line) if line == READY => return Ok(Waited::Restarted),
                Some(line) => self.ended.extend(ended(&line)),
            }
        }
    }

    /// What a command has written so far.
    pub(super) fn output(&self, job: Job) -> String {
        let path = self.folder.join(format!("{}.out", job.number));
        // Not there yet: it has not begun.
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// The number and exit code of a command that has ended.
fn ended(line: &str) -> Option<(u32, i32)> {
    let (number, code) = line.split_once(' ')?;
    Some((number.parse().ok()?, code.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_with_its_number_and_code() {
        assert_eq!(ended("12 127"), Some((12, 127)));
        assert_eq!(ended("x"), None);
    }
}
