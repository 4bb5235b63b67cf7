//! The metadata service of one instance, version 2: no answer without a session token.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::ids::InstanceId;
use crate::server::{Server, Shared};
use crate::wire::accept;

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// Six hours, AWS's longest session.
const MAX_TTL_SECONDS: u64 = 21_600;

/// A metadata service that is being served; it stops when dropped.
#[derive(Debug)]
pub struct Imds {
    address: SocketAddr,
    task: AbortHandle,
}

impl Imds {
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Imds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the metadata of an instance; in the lab the listener is 169.254.169.254:80 of its node.
///
/// # Errors
/// The listener cannot be used.
pub fn serve(
    server: &Server,
    instance: InstanceId,
    listener: std::net::TcpListener,
) -> std::io::Result<Imds> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = TcpListener::from_std(listener)?;
    let metadata = Metadata {
        shared: Arc::clone(&server.shared),
        instance,
        sessions: Mutex::default(),
    };
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::new(metadata));
    Ok(Imds {
        address,
        task: tokio::spawn(accept(listener, router)).abort_handle(),
    })
}

struct Metadata {
    shared: Arc<Shared>,
    instance: InstanceId,
    sessions: Mutex<Sessions>,
}

async fn answer(
    State(metadata): State<Arc<Metadata>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let now = metadata.shared.with_world(|_, now| now);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut sessions = metadata
        .sessions
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if uri.path() == "/latest/api/token" {
        return match method {
            Method::PUT if headers.contains_key("x-forwarded-for") => {
                (StatusCode::FORBIDDEN, String::new())
            }
            Method::PUT => match sessions.open(header(TOKEN_TTL), now) {
                Some(token) => (StatusCode::OK, token),
                None => (StatusCode::BAD_REQUEST, String::new()),
            },
            _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        };
    }
    if !header(TOKEN).is_some_and(|token| sessions.is_open(token, now)) {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    if method != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, String::new());
    }
    match metadata
        .shared
        .with_world(|world, now| world.metadata(&metadata.instance, uri.path(), now))
    {
        Some(text) => (StatusCode::OK, text),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}

/// Session tokens and when they end.
#[derive(Debug, Default)]
struct Sessions {
    ends: BTreeMap<String, Timestamp>,
    count: u64,
}

impl Sessions {
    /// A new token, if the time to live is one that AWS accepts.
    fn open(&mut self, ttl: Option<&str>, now: Timestamp) -> Option<String> {
        let seconds: u64 = ttl?
            .parse()
            .ok()
            .filter(|seconds| (1..=MAX_TTL_SECONDS).contains(seconds))?;
        self.ends.retain(|_, end| *end > now);
        self.count += 1;
        let token = format!("AQAEAsimulated{:042x}==", self.count);
        self.ends
            .insert(token.clone(), now + Duration::from_secs(seconds));
        Some(token)
    }

    fn is_open(&self, token: &str, now: Timestamp) -> bool {
        self.ends.get(token).is_some_and(|end| *end > now)
    }
}
