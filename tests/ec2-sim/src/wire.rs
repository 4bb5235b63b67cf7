//! The wire: connections, EC2's and STS's Query protocol, and answers that never arrive.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower_service::Service as _;

use crate::action::service_of;
use crate::error::{Error, api};
use crate::request::Request;
use crate::server::Shared;
use crate::xml::Xml;

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

/// EC2's and STS's Query protocol, by POST or GET; a target in a header is SQS's JSON protocol.
pub(crate) async fn serve_query(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let target = headers.get("x-amz-target").and_then(|it| it.to_str().ok());
    if let Some(action) = target.and_then(|target| target.strip_prefix(crate::sqs::TARGET)) {
        return crate::sqs::serve(shared, action, &headers, &body).await;
    }
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
        Err(Error::ConnectionLost) => hang_up(),
    }
}

/// Ends the connection instead of an answer.
pub(crate) fn hang_up() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(HangUp);
    response
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
