//! The world behind a socket: EC2 and STS on `/`, the control API on `/_control`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::routing::get;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast};
use tokio::task::{AbortHandle, JoinSet};
use tower_service::Service as _;

use crate::action::service_of;
use crate::error::{Error, api};
use crate::event::Event;
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

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

pub(crate) async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, router.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "Accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection; an answer marked [`HangUp`] closes it instead.
async fn serve_connection(stream: TcpStream, router: Router) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut router = router.clone();
        async move {
            let Ok(response) = router.call(request.map(Body::new)).await;
            if response.extensions().get::<HangUp>().is_some() {
                Err(HangUp)
            } else {
                Ok(response)
            }
        }
    });
    // A client that goes away is no error of ours.
    drop(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

/// Ends the connection without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the simulator hangs up")]
struct HangUp;

/// EC2's and STS's Query protocol, by POST or GET.
async fn serve_query(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut request = Request::parse(uri.query().unwrap_or_default().as_bytes());
    request.parameters.extend(Request::parse(&body).parameters);
    let signed =
        headers.contains_key(AUTHORIZATION) || request.parameters.contains_key("X-Amz-Signature");
    // A signature in the query is no part of what is asked.
    request
        .parameters
        .retain(|name, _| !name.starts_with("X-Amz-"));
    if !signed {
        let error = api(
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        );
        return xml(
            error.status,
            Xml::refusal(
                service_of(&request),
                &error,
                "00000000-0000-4000-8000-000000000000",
            ),
        );
    }
    let reply = shared.with_world(|world, now| world.serve(&request, now));
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    let service = service_of(&request);
    match reply.answer {
        Ok(response) => xml(200, response.body),
        Err(Error::Api(error)) => xml(
            error.status,
            Xml::refusal(service, &error, &reply.request_id),
        ),
        Err(Error::Html { status }) => {
            let page = format!(
                "<html><head><title>{status}</title></head><body><h1>{status} Bad Gateway</h1></body></html>"
            );
            typed(status, "text/html", page)
        }
        Err(Error::ConnectionLost) => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(HangUp);
            response
        }
    }
}

fn xml(status: u16, body: String) -> Response<Body> {
    typed(status, "text/xml;charset=UTF-8", body)
}

fn typed(status: u16, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
