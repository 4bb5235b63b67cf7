//! Logs for people and machines, on standard error.

use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::LogFormat;

/// Starts logging; for the program, not for the library.
pub fn log(format: LogFormat, level: &str) {
    start(format, level, None);
}

/// Logs, and tells `other` all that is told.
pub(super) fn start(
    format: LogFormat,
    level: &str,
    other: Option<Box<dyn Layer<Registry> + Send + Sync>>,
) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(other)
        .with(lines.with_filter(filter))
        .init();
}
