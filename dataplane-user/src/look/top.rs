//! `eniway-agent top`: packets and bytes a second, by ENI, direction and rule, the busiest first.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _, stdout},
    time::Duration,
};

use super::{Error, guards};
use crate::{
    bpf::{Bpf, Direction, Outcome, Reason},
    config::Top,
};

/// What is counted apart.
type Key = (String, Direction, Outcome, Reason);

/// Packets and bytes.
type Amount = (u64, u64);

pub(super) async fn run(top: &Top) -> Result<(), Error> {
    let bpf = Bpf::open(&top.which.bpffs)?;
    let mut before = read(&bpf, top)?;
    let every = Duration::from_secs(top.seconds.get().into());
    let mut rounds = 0;
    while top.count.is_none_or(|count| rounds < count.get()) {
        tokio::time::sleep(every).await;
        let now = read(&bpf, top)?;
        let table = table(&rates(&before, &now, every));
        let mut screen = stdout();
        // Clears a screen; a file keeps all.
        let begin = if screen.is_terminal() {
            "\x1b[H\x1b[2J"
        } else {
            ""
        };
        writeln!(screen, "{begin}{table}").map_err(Error::Output)?;
        before = now;
        rounds += 1;
    }
    Ok(())
}

fn read(bpf: &Bpf, top: &Top) -> Result<BTreeMap<Key, Amount>, Error> {
    let mut counts = BTreeMap::new();
    for guard in guards(bpf, &top.which)? {
        for count in bpf.counters(&guard.attached.eni)? {
            let key = (
                guard.to_string(),
                count.direction,
                count.outcome,
                count.reason,
            );
            counts.insert(key, (count.packets, count.bytes));
        }
    }
    Ok(counts)
}

/// What came in between, for each second, the most packets first.
fn rates(
    before: &BTreeMap<Key, Amount>,
    now: &BTreeMap<Key, Amount>,
    every: Duration,
) -> Vec<(Key, Amount)> {
    let seconds = every.as_secs().max(1);
    let mut rates: Vec<_> = now
        .iter()
        .map(|(key, &(packets, bytes))| {
            let (old_packets, old_bytes) = before.get(key).copied().unwrap_or_default();
            // Maps that were made anew count from zero.
            let packets = packets.saturating_sub(old_packets);
            let bytes = bytes.saturating_sub(old_bytes);
            (key.clone(), (packets.div_ceil(seconds), bytes / seconds))
        })
        .filter(|(_, (packets, _))| *packets > 0)
        .collect();
    rates.sort_by_key(|(key, (packets, _))| (std::cmp::Reverse(*packets), key.clone()));
    rates
}

fn table(rates: &[(Key, Amount)]) -> String {
    let mut lines = vec![format!(
        "{:<32}  {:<7}  {:<8}  {:<20}  {:>12}  {:>14}",
        "ENI AND INTERFACE", "WAY", "OUTCOME", "RULE", "PACKETS/S", "BITS/S"
    )];
    for ((guard, direction, outcome, reason), (packets, bytes)) in rates {
        lines.push(format!(
            "{guard:<32}  {:<7}  {:<8}  {:<20}  {packets:>12}  {:>14}",
            direction.label(),
            outcome.label(),
            reason.label(),
            bytes * 8
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_and_the_busiest_comes_first() {
        let key = |reason| {
            (
                "eni-1 eth1".to_owned(),
                Direction::Ingress,
                Outcome::Dropped,
                reason,
            )
        };
        let before = BTreeMap::from([(key(Reason::Vlan), (10, 1_000))]);
        let now = BTreeMap::from([
            (key(Reason::Vlan), (14, 1_400)),
            (key(Reason::Multicast), (100, 6_000)),
            (key(Reason::Broadcast), (0, 0)),
        ]);
        let rates = rates(&before, &now, Duration::from_secs(2));
        assert_eq!(
            rates,
            [
                (key(Reason::Multicast), (50, 3_000)),
                (key(Reason::Vlan), (2, 200))
            ]
        );
        let table = table(&rates);
        assert!(table.contains("multicast"), "{table}");
        assert!(table.contains("24000"), "bits, not bytes: {table}");
    }

    #[test]
    fn counters_that_begin_anew_are_no_giant_rate() {
        let key = || {
            (
                "eni-1 eth1".to_owned(),
                Direction::Ingress,
                Outcome::Passed,
                Reason::Passed,
            )
        };
        let rates = rates(
            &BTreeMap::from([(key(), (1_000, 64_000))]),
            &BTreeMap::from([(key(), (3, 180))]),
            Duration::from_secs(1),
        );
        assert_eq!(rates, []);
    }
}
