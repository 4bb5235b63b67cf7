//! A world with a clock, behind a socket: EC2 and STS on `/`, the control API on `/_control`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;

use crate::event::Event;
use crate::wire::{accept, serve_query};
use crate::world::World;

/// Events that a slow receiver may fall behind.
const EVENT_BACKLOG: usize = 65_536;

/// Where the time of a world comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Real,
    /// Stands still until it is advanced.
    Manual(Timestamp),
}

/// How a server serves.
#[derive(Clone, Debug)]
pub struct Options {
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Clock::Real }
    }
}

/// A world that is being served; it stops when the last clone is dropped.
#[derive(Clone)]
pub struct Server {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
    _tasks: Arc<Tasks>,
}

pub(crate) struct Shared {
    inner: Mutex<Inner>,
    events: broadcast::Sender<Event>,
    /// Something changed: the timer may have to ring earlier.
    changed: Notify,
}

struct Inner {
    world: World,
    clock: Clock,
    /// The newest moment that the world has seen: its time never runs backwards.
    latest: Timestamp,
    /// How far the real clock is left behind by a manual one that ran before.
    ahead: Duration,
    published: u64,
}

impl Inner {
    fn now(&mut self) -> Timestamp {
        let now = match self.clock {
            Clock::Real => Timestamp::now() + self.ahead,
            Clock::Manual(now) => now,
        };
        self.latest = self.latest.max(now);
        self.latest
    }

    fn set_clock(&mut self, clock: Clock) {
        self.ahead = Duration::try_from(self.latest.duration_since(Timestamp::now()))
            .unwrap_or(Duration::ZERO);
        self.clock = clock;
    }
}

struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Server {
    /// Serves a world on the current runtime. The listener may come from another network namespace.
    ///
    /// # Errors
    /// The listener cannot be used.
    #[expect(
        clippy::unused_async,
        reason = "it needs a runtime, and says so by being async"
    )]
    pub async fn start(
        world: World,
        listener: std::net::TcpListener,
        options: Options,
    ) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let published = world.last_sequence();
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let inner = Mutex::new(Inner {
            world,
            clock: options.clock,
            latest: Timestamp::MIN,
            ahead: Duration::ZERO,
            published,
        });
        let shared = Arc::new(Shared {
            inner,
            events,
            changed: Notify::new(),
        });
        let router = Router::new()
            .route("/", get(serve_query).post(serve_query))
            .nest("/_control", crate::control::router())
            .with_state(Arc::clone(&shared));
        let tasks = vec![
            tokio::spawn(accept(listener, router)).abort_handle(),
            tokio::spawn(ring(Arc::clone(&shared))).abort_handle(),
        ];
        Ok(Self {
            shared,
            address,
            _tasks: Arc::new(Tasks(tasks)),
        })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to give a client as its endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Looks into the world or changes it, at its own time.
    pub fn with_world<T>(&self, visit: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        self.shared.with_world(visit)
    }

    /// Moves a manual clock.
    pub fn advance(&self, by: Duration) -> Timestamp {
        self.shared.advance(by)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn with_world<T>(&self, visit: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        // A test that panics inside must not hide its own message behind a poisoned lock.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = inner.now();
        inner.world.advance(now);
        let result = visit(&mut inner.world, now);
        inner.world.advance(now);
        for event in inner.world.events_after(inner.published) {
            inner.published = event.sequence;
            // Nobody may be listening.
            drop(self.events.send(event));
        }
        drop(inner);
        self.changed.notify_one();
        result
    }

    /// Moves a manual clock; a real one has its own pace, and is made manual first.
    pub(crate) fn advance(&self, by: Duration) -> Timestamp {
        let now = self.with_world(|_, now| now) + by;
        self.set_clock(Clock::Manual(now));
        now
    }

    pub(crate) fn set_clock(&self, clock: Clock) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .set_clock(clock);
        self.with_world(|_, _| ());
    }

    pub(crate) fn clock(&self) -> Clock {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clock
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

/// Lets things happen when they are due.
async fn ring(shared: Arc<Shared>) {
    loop {
        let changed = shared.changed.notified();
        let (due, now) = {
            let mut inner = shared.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let now = inner.now();
            let due = inner
                .world
                .next_due()
                .filter(|_| inner.clock == Clock::Real);
            (due, now)
        };
        match due {
            None => changed.await,
            Some(due) => {
                let wait = Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO);
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(wait) => shared.with_world(|_, _| ()),
                }
            }
        }
    }
}
