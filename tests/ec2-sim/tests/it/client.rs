//! A plain HTTP client.

use axum::body::{Body, to_bytes};
use axum::http::request::Builder;
use axum::http::{Request, StatusCode};
use hyper_util::client::legacy::{Client as Pool, Error, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

/// No answer of the simulator is larger.
const LARGEST: usize = 1 << 20;

/// Keeps connections open between requests, as the AWS SDKs do.
pub(crate) struct Client(Pool<HttpConnector, Body>);

impl Client {
    pub(crate) fn new() -> Self {
        Self(Pool::builder(TokioExecutor::new()).build_http())
    }

    /// Fails if the connection is lost before there is a whole answer.
    pub(crate) async fn send(
        &self,
        request: Builder,
        body: impl Into<Body>,
    ) -> Result<(StatusCode, String), Error> {
        let response = self.0.request(request.body(body.into()).unwrap()).await?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), LARGEST).await;
        Ok((status, String::from_utf8(body.unwrap().into()).unwrap()))
    }

    pub(crate) async fn get(&self, url: &str) -> (StatusCode, String) {
        self.send(Request::get(url), ()).await.unwrap()
    }
}
