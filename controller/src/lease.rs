//! Keeps one controller acting at a time.
//!
//! # Expected flow
//! Take the lease when it is free or expired, renew it, give it back at the end.
//! # Guarantees
//! Who does not renew stops acting before the lease ends, by its own monotonic clock: clocks of
//! machines need not agree. EC2 has no fencing; the client token and the interface's own attachment
//! keep the rest of the promise.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eniway_api::mark;
use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    config::{Config, Timing},
    kubernetes::{Error, Kubernetes, Lease},
};

/// Whether this process leads, and until when it may act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) since: Option<Instant>,
    /// `None` with `since`: for ever, without election.
    until: Option<Instant>,
}

impl Leadership {
    pub(crate) fn may_act(self, now: Instant) -> bool {
        self.since.is_some() && self.until.is_none_or(|until| now < until)
    }
}

/// Leadership was lost: another may act, so this process must end.
#[derive(Debug, thiserror::Error)]
#[error("the lease was lost to {to}")]
pub struct Lost {
    to: String,
}

pub(crate) struct Election {
    kubernetes: Arc<dyn Kubernetes>,
    namespace: String,
    identity: String,
    timing: Timing,
    wall: fn() -> Timestamp,
    leadership: Arc<watch::Sender<Leadership>>,
    /// The lease as it was last seen to change, and when that was.
    seen: Option<(Lease, Instant)>,
}

impl Election {
    pub(crate) fn new(
        kubernetes: Arc<dyn Kubernetes>,
        config: &Config,
        leadership: Arc<watch::Sender<Leadership>>,
    ) -> Self {
        Self {
            kubernetes,
            namespace: config.namespace.clone(),
            identity: config.identity.clone(),
            timing: config.timing,
            wall: config.wall,
            leadership,
            seen: None,
        }
    }

    /// Runs until leadership is lost. Cancel-safe; call [`Election::resign`] afterwards.
    pub(crate) async fn run(&mut self) -> Lost {
        loop {
            let begun = now();
            let attempt = tokio::time::timeout(self.timing.renewal, self.attempt(begun));
            match attempt.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.is_outdated() => self.seen = None,
                Ok(Err(error)) => warn!(%error, "Lease was not renewed, trying again"),
                Err(_) => warn!("The API server does not answer, trying again"),
            }
            let state = *self.leadership.borrow();
            if state.since.is_some() && !state.may_act(now()) {
                self.leadership.send_replace(Leadership::default());
                let holder = self
                    .seen
                    .as_ref()
                    .and_then(|(lease, _)| lease.holder.clone());
                return Lost {
                    to: holder.unwrap_or_else(|| "silence of the API server".to_owned()),
                };
            }
            // Who waits looks as often as who leads renews.
            tokio::time::sleep(self.timing.renewal.min(Duration::from_secs(2))).await;
        }
    }

    async fn attempt(&mut self, begun: Instant) -> Result<(), Error> {
        let name = mark::LEASE_CONTROLLER;
        let current = self.kubernetes.lease(&self.namespace, name).await?;
        let leads = self.leadership.borrow().since.is_some();
        let holder = current.as_ref().and_then(|lease| lease.holder.as_deref());
        let mine = holder == Some(&self.identity);
        if leads && !mine {
            // Somebody else took it. `run` sees it at once.
            let since = self.leadership.borrow().since;
            self.leadership.send_replace(Leadership {
                since,
                until: Some(begun),
            });
            self.seen = current.map(|lease| (lease, begun));
            return Ok(());
        }
        if !leads && holder.is_some() && !self.expired(current.as_ref(), begun) {
            return Ok(());
        }
        let lease = self
            .kubernetes
            .write_lease(
                &self.namespace,
                name,
                current.as_ref(),
                Some(&self.identity),
                self.timing.lease,
                (self.wall)(),
            )
            .await?;
        self.seen = Some((lease, begun));
        if !leads {
            info!(identity = self.identity, "Leads now");
        }
        let since = self.leadership.borrow().since.unwrap_or(begun);
        self.leadership.send_replace(Leadership {
            since: Some(since),
            until: Some(begun + self.timing.acting),
        });
        Ok(())
    }

    /// Whether the holder has not renewed for a whole lease, as seen from here.
    fn expired(&mut self, current: Option<&Lease>, now: Instant) -> bool {
        let Some(current) = current else { return true };
        match &self.seen {
            Some((seen, at))
                if seen.renewed == current.renewed && seen.holder == current.holder =>
            {
                now >= *at + current.duration
            }
            _ => {
                self.seen = Some((current.clone(), now));
                false
            }
        }
    }

    /// Gives the lease back, so that the next one need not wait for its end.
    pub(crate) async fn resign(&self) {
        let Some((lease, _)) = &self.seen else { return };
        if lease.holder.as_deref() != Some(&self.identity) {
            return;
        }
        let duration = Duration::from_secs(1);
        let name = mark::LEASE_CONTROLLER;
        let given = self
            .kubernetes
            .write_lease(
                &self.namespace,
                name,
                Some(lease),
                None,
                duration,
                (self.wall)(),
            )
            .await;
        match given {
            Ok(_) => info!("Gave the lease back"),
            Err(error) => warn!(%error, "Lease was not given back; it expires"),
        }
    }
}

impl Leadership {
    /// Leads from now on, alone.
    pub(crate) const fn alone(now: Instant) -> Self {
        Self {
            since: Some(now),
            until: None,
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
