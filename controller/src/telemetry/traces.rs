//! Traces for a collector of OpenTelemetry, out of the spans that log lines name.

use std::time::Duration;

use eniway_api::mark;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, filter::Targets};

use super::logs::start;
use crate::config::LogFormat;

/// How long the last traces may take at the end of the program.
const LAST: Duration = Duration::from_secs(2);

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error(
    "send traces to {endpoint}: give the base URL of a collector's OTLP over HTTP, such as http://collector:4318"
)]
pub struct TracesError {
    endpoint: String,
    source: ExporterBuildError,
}

/// Sends what is left of the traces when it is dropped.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.0.shutdown_with_timeout(LAST);
    }
}

/// Starts logging, and tracing to a collector; for the program, not for the library.
///
/// Sampling, headers and further attributes follow OpenTelemetry's own environment variables.
pub fn log_and_trace(
    format: LogFormat,
    level: &str,
    collector: &str,
) -> Result<Traces, TracesError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
        .build()
        .map_err(|source| TracesError {
            endpoint: collector.to_owned(),
            source,
        })?;
    let resource = Resource::builder().with_service_name(mark::CONTROLLER);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build();
    // Our own spans, whatever is logged; those of the libraries below would trace the sending of traces.
    let ours = Targets::new()
        .with_target("eniway_controller", LevelFilter::INFO)
        .with_target("eniway_ec2", LevelFilter::DEBUG);
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer(mark::CONTROLLER));
    start(format, level, Some(spans.with_filter(ours).boxed()));
    Ok(Traces(provider))
}
