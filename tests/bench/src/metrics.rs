//! What the controller and the API server count of themselves, in Prometheus' text format.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::Lab;

/// The kinds of objects that the controller writes, besides its lease.
const WRITTEN: [&str; 5] = [
    "nodeenis",
    "nodeeniattachments",
    "enipools",
    "nodes",
    "events",
];

/// One line: a number with its name and labels.
#[derive(Debug)]
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    /// `name{label="value"} 1`; `None` for a comment.
    fn parse(line: &'a str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Self {
            name,
            labels: labels.trim_end_matches('}'),
            value: value.parse().ok().filter(|_| !line.starts_with('#'))?,
        })
    }

    fn label(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.labels.split("\",");
        pairs.find_map(|pair| {
            let value = pair.strip_prefix(name)?.strip_prefix("=\"")?;
            Some(value.trim_end_matches('"'))
        })
    }
}

/// How often the API server was asked to write what the controller writes, by anybody.
pub(crate) fn writes(lab: &Lab) -> Result<f64> {
    let text = lab.kubectl(&["get", "--raw", "/metrics"])?;
    Ok(count_writes(&text))
}

fn count_writes(text: &str) -> f64 {
    let samples = text.lines().filter_map(Sample::parse);
    let writes = samples.filter(|sample| {
        let is_write = !matches!(sample.label("verb"), Some("GET" | "LIST" | "WATCH") | None);
        let resource = sample.label("resource").unwrap_or_default();
        sample.name == "apiserver_request_total" && is_write && WRITTEN.contains(&resource)
    });
    writes.map(|sample| sample.value).sum()
}

/// How long the controller took for a node, as a histogram: in each bucket what took at most its bound, which are
/// nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reconciles(BTreeMap<u128, f64>);

impl Reconciles {
    /// Asks the controller.
    pub(crate) fn ask(address: &str) -> Result<Self> {
        let mut text = String::new();
        let mut stream = TcpStream::connect(address).context("reach the controller's metrics")?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: controller\r\n\r\n")?;
        stream.read_to_string(&mut text)?;
        Ok(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let samples = text.lines().filter_map(Sample::parse);
        let buckets = samples
            .filter(|sample| sample.name == "eniway_controller_reconcile_duration_seconds_bucket");
        let bound = |sample: &Sample<'_>| {
            let bound: f64 = sample.label("le")?.parse().ok()?;
            let bound = Duration::try_from_secs_f64(bound).unwrap_or(Duration::MAX);
            Some((bound.as_nanos(), sample.value))
        };
        Self(buckets.filter_map(|sample| bound(&sample)).collect())
    }

    /// Those that came after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let buckets = self.0.iter();
        let before = |bound| earlier.0.get(bound).copied().unwrap_or(0.0);
        Self(
            buckets
                .map(|(bound, count)| (*bound, count - before(bound)))
                .collect(),
        )
    }

    /// The bound of the bucket that `share` of all are in or below; `None` when there were none.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let all = self.0.values().copied().fold(0.0, f64::max);
        let (bound, _) = self
            .0
            .iter()
            .find(|(_, count)| all > 0.0 && **count >= share * all)?;
        Some(u64::try_from(*bound).map_or(Duration::MAX, Duration::from_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted_and_reads_are_not() {
        let text = "# HELP apiserver_request_total Counter\n\
            apiserver_request_total{code=\"201\",resource=\"events\",verb=\"POST\"} 3\n\
            apiserver_request_total{code=\"200\",resource=\"nodeenis\",verb=\"APPLY\"} 4\n\
            apiserver_request_total{code=\"200\",resource=\"nodeenis\",verb=\"WATCH\"} 5\n\
            apiserver_request_total{code=\"200\",resource=\"leases\",verb=\"PUT\"} 6\n\
            another{resource=\"nodeenis\",verb=\"PUT\"} 7\n";
        assert!((count_writes(text) - 7.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let name = "eniway_controller_reconcile_duration_seconds_bucket";
        let text = |counts: [u32; 3]| {
            let lines = ["0.005", "0.01", "+Inf"].into_iter().zip(counts);
            let lines = lines.map(|(le, count)| format!("{name}{{le=\"{le}\"}} {count}\n"));
            lines.collect::<String>()
        };
        let earlier = Reconciles::read(&text([100, 100, 100]));
        let later = Reconciles::read(&text([150, 198, 200]));
        let between = later.since(&earlier);
        assert_eq!(between.quantile(0.5), Some(Duration::from_millis(5)));
        assert_eq!(between.quantile(0.98), Some(Duration::from_millis(10)));
        assert_eq!(between.quantile(0.99), Some(Duration::MAX));
        assert_eq!(earlier.since(&earlier).quantile(0.5), None);
    }
}
