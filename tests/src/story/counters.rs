//! The agent's packet counters, read from its metrics as Prometheus reads them.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lab::{Namespace, wait};

/// The metric that counts packets by interface, direction, reason and outcome.
const METRIC: &str = "eniway_agent_packets_total";
/// Where an agent serves its metrics.
const PORT: u16 = 8081;
/// How long an agent that was killed may be away; it is away for a second or two.
const REPLACED: Duration = Duration::from_secs(60);

/// One agent's counters at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(Vec<(String, u64)>);

impl Counters {
    /// Asks the agent of a node; one that is being replaced is waited for.
    pub(super) fn read(node: &Namespace) -> anyhow::Result<Self> {
        let what = format!("the agent of {} serves its metrics", node.name());
        let read = || Self::ask(node).map_err(|error| format!("{error:#}"));
        Ok(wait::until(&what, REPLACED, read)?)
    }

    fn ask(node: &Namespace) -> anyhow::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], PORT));
        let mut stream = node
            .tcp_connect(address)
            .with_context(|| format!("reach the agent's metrics on {}", node.name()))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(
            text.starts_with("HTTP/1.0 200") || text.starts_with("HTTP/1.1 200"),
            "the agent's metrics answered: {}",
            text.lines().next().unwrap_or_default()
        );
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| line.starts_with(METRIC));
        Self(
            samples
                .filter_map(|line| {
                    let (labels, value) = line.rsplit_once(' ')?;
                    Some((labels.to_owned(), value.parse().ok()?))
                })
                .collect(),
        )
    }

    /// Packets whose labels hold every one of these `key="value"` pairs.
    pub(super) fn packets(&self, labels: &[(&str, &str)]) -> u64 {
        let wanted: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        self.0
            .iter()
            .filter(|(text, _)| wanted.iter().all(|pair| text.contains(pair)))
            .map(|(_, packets)| packets)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_over_all_that_the_labels_match() {
        let text = "HTTP/1.0 200 OK\r\n\r\n# TYPE eniway_agent_packets counter\n\
            eniway_agent_packets_total{eni=\"eni-1\",direction=\"ingress\",reason=\"arp\",outcome=\"passed\"} 2\n\
            eniway_agent_packets_total{eni=\"eni-1\",direction=\"ingress\",reason=\"vlan\",outcome=\"dropped\"} 3\n\
            eniway_agent_packets_total{eni=\"eni-2\",direction=\"egress\",reason=\"arp\",outcome=\"passed\"} 5\n";
        let counters = Counters::parse(text);
        assert_eq!(counters.packets(&[("outcome", "passed")]), 7);
        assert_eq!(counters.packets(&[("eni", "eni-1"), ("reason", "vlan")]), 3);
        assert_eq!(counters.packets(&[("reason", "dhcp")]), 0);
    }
}
