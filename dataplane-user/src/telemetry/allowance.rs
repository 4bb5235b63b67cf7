//! What EC2 held back because an instance or an interface had used up its allowance, as ENA counts it.
//!
//! A data path that seems slow often is this: packets that wait in the card, or never reach it (EC2 user
//! guide, "Monitor network performance for ENA settings").

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// The counters of ENA's driver, and what a metric calls them.
const ALLOWANCES: [(&str, &str); 5] = [
    ("bw_in_allowance_exceeded", "bw_in"),
    ("bw_out_allowance_exceeded", "bw_out"),
    ("pps_allowance_exceeded", "pps"),
    ("conntrack_allowance_exceeded", "conntrack"),
    ("linklocal_allowance_exceeded", "linklocal"),
];

/// One allowance of one ENI.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AllowanceLabels {
    eni: String,
    counter: &'static str,
}

/// What an ENI's driver has counted, by the driver's names.
pub(super) type Counters = Vec<(String, u64)>;

/// Adds the allowances that are among the counters; nothing where a driver has none.
pub(super) fn register(registry: &mut Registry, counters: &[(String, Counters)]) {
    let exceeded = Family::<AllowanceLabels, Counter>::default();
    let mut any = false;
    for (eni, counters) in counters {
        for (name, value) in counters {
            let known = ALLOWANCES.iter().find(|(driver, _)| driver == name);
            let Some(&(_, counter)) = known else { continue };
            let eni = eni.clone();
            exceeded
                .get_or_create(&AllowanceLabels { eni, counter })
                .inc_by(*value);
            any = true;
        }
    }
    if any {
        registry.register(
            "ena_allowance_exceeded",
            "Packets that EC2 queued or dropped because an allowance was used up",
            exceeded,
        );
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(counters: &[(&str, &[(&str, u64)])]) -> String {
        let counters: Vec<(String, Counters)> = counters
            .iter()
            .map(|(eni, counters)| {
                let counters = counters
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), *value));
                ((*eni).to_owned(), counters.collect())
            })
            .collect();
        let mut registry = Registry::with_prefix("eniway_agent");
        register(&mut registry, &counters);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn every_allowance_is_a_counter_and_nothing_else_is() {
        let ena = [
            ("tx_timeout", 1),
            ("bw_in_allowance_exceeded", 2),
            ("bw_out_allowance_exceeded", 3),
            ("pps_allowance_exceeded", 4),
            ("conntrack_allowance_exceeded", 5),
            ("linklocal_allowance_exceeded", 6),
            ("conntrack_allowance_available", 136_812),
            ("queue_0_rx_xdp_drop", 7),
        ];
        let text = text(&[("eni-1", &ena)]);
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        let name = "eniway_agent_ena_allowance_exceeded_total";
        let line =
            |counter, value| format!("{name}{{eni=\"eni-1\",counter=\"{counter}\"}} {value}");
        let expected = [
            line("bw_in", 2),
            line("bw_out", 3),
            line("conntrack", 5),
            line("linklocal", 6),
            line("pps", 4),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_driver_without_allowances_adds_nothing() {
        let veth = [("peer_ifindex", 4), ("rx_queue_0_xdp_packets", 9)];
        assert_eq!(text(&[("eni-1", &veth), ("eni-2", &[])]), "# EOF\n");
    }
}
