//! Follows the objects of one resource, by `kubectl get --watch`.

use std::io::BufReader;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use lab::Lab;
use serde_json::{Deserializer, Value};

/// Longer than anything that is waited for takes.
const DEADLINE: Duration = Duration::from_secs(1800);

/// What the API server told, and when.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(crate) kind: String,
    pub(crate) object: Value,
}

impl Event {
    pub(crate) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// An open watch; it ends with this value.
#[derive(Debug)]
pub(crate) struct Watch {
    resource: &'static str,
    events: Receiver<Event>,
    kubectl: Child,
}

impl Watch {
    /// Begins with an event for each object that exists.
    pub(crate) fn open(lab: &Lab, resource: &'static str) -> Result<Self> {
        let mut kubectl = lab
            .kubectl_command()
            .args(["get", resource, "--watch", "--output-watch-events"])
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .context("start kubectl")?;
        let stdout = kubectl.stdout.take().context("kubectl has no output")?;
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            let values = Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Value>();
            for mut value in values.map_while(Result::ok) {
                let event = Event {
                    at: Timestamp::now(),
                    kind: value["type"].as_str().unwrap_or_default().to_owned(),
                    object: value["object"].take(),
                };
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            resource,
            events,
            kubectl,
        })
    }

    /// When the first event came that `is_it`; those before it are dropped.
    pub(crate) fn until(
        &self,
        what: &str,
        mut is_it: impl FnMut(&Event) -> bool,
    ) -> Result<Timestamp> {
        let deadline = Instant::now() + DEADLINE;
        let mut last = Value::Null;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if is_it(&event) => return Ok(event.at),
                Ok(event) => last = event.object,
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "{what}: not within {DEADLINE:?}; the last of {}: {last}",
                        self.resource
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{what}: the watch of {} ended", self.resource)
                }
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
