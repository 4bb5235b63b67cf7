//! A collector of OpenTelemetry traces, as small as one can be.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::KeyValue, trace::v1::Span,
};
use prost::Message as _;
use tokio::runtime::Runtime;

/// What came, as it came.
type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

pub(super) struct Collector {
    pub(super) url: String,
    received: Received,
    _runtime: Runtime,
}

impl Collector {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let received = Received::default();
        let keep = Arc::clone(&received);
        let router = Router::new().route(
            "/v1/traces",
            post(move |body: Bytes| async move {
                match ExportTraceServiceRequest::decode(body) {
                    Ok(request) => {
                        keep.lock().unwrap().push(request);
                        StatusCode::OK
                    }
                    Err(_) => StatusCode::BAD_REQUEST,
                }
            }),
        );
        let runtime = Runtime::new().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            url,
            received,
            _runtime: runtime,
        }
    }

    /// The names of the services that sent something.
    pub(super) fn services(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        let resources = received
            .iter()
            .flat_map(|request| &request.resource_spans)
            .filter_map(|spans| spans.resource.as_ref());
        let names = resources.filter_map(|resource| value(&resource.attributes, "service.name"));
        names.collect()
    }

    /// A span of this name, and the spans that it is in, innermost first.
    pub(super) fn lineage(&self, name: &str) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let spans: BTreeMap<_, _> = received
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|spans| &spans.scope_spans)
            .flat_map(|spans| &spans.spans)
            .map(|span| (span.span_id.clone(), span))
            .collect();
        let first = spans.values().find(|span| span.name == name).copied();
        std::iter::successors(first, |span| spans.get(&span.parent_span_id).copied())
            .cloned()
            .collect()
    }
}

/// The text of an attribute.
pub(super) fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}
