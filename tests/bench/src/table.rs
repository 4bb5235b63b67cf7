//! The outcomes as Markdown, beside the peer's figures.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure::{Lap, Outcome};
use crate::peer::{self, Change};

/// Every table.
pub(crate) fn all(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| nodes × subnets | attached in EC2, s | status says so, s | × peer | calls | per interface | × peer \
         | writes to the API server per interface | reconcile p50, p99, ms \
         | quiet minute: changing + reading | × peer | RSS, peak, MiB | × peer |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        text.push_str(&row(outcome));
    }
    text.push('\n');
    text.push_str(&by_action(outcomes));
    for outcome in outcomes {
        if let Some(changes) = &outcome.changes {
            let _ = write!(
                text,
                "\n| change at {} | in EC2, s | done, s | × peer | calls | × peer |\n\
                 |---|---|---|---|---|---|\n",
                outcome.course
            );
            for (name, lap, peer) in [
                ("add a node", &changes.add_a_node, peer::ADD_A_NODE),
                (
                    "remove a node's label",
                    &changes.remove_a_label,
                    peer::REMOVE_A_LABEL,
                ),
                ("delete the NodeENI", &changes.delete_all, peer::DELETE_ALL),
            ] {
                text.push_str(&change_row(name, lap, &peer));
            }
        }
    }
    text
}

fn row(outcome: &Outcome) -> String {
    let Outcome {
        course,
        attached,
        writes,
        reconciles,
        quiet,
        memory,
        changes: _,
    } = outcome;
    let peer = course.peer();
    let calls = attached.calls.all();
    let mib = |kib: u64| to_float(kib) / 1024.0;
    let (quiet, quiet_ratio) = match quiet {
        None => ("-".to_owned(), "-".to_owned()),
        Some(quiet) => {
            let (all, mutating) = (quiet.all(), quiet.mutating());
            let ratio = peer.map(|peer| (to_float(all), to_float(peer.quiet_calls)));
            (format!("{mutating} + {}", all - mutating), times(ratio))
        }
    };
    let mut name = course.to_string();
    if attached.calls.refused() > 0 {
        let _ = write!(name, " ({} refused)", attached.calls.refused());
    }
    format!(
        "| {name} | {:.2} | {:.2} | {} | {calls} | {:.2} | {} | {:.2} | {}, {} | {quiet} | {quiet_ratio} | {:.0}, {:.0} | {} |\n",
        attached.in_ec2.as_secs_f64(),
        attached.told.as_secs_f64(),
        times(peer.map(|peer| (attached.told.as_secs_f64(), peer.seconds))),
        to_float(attached.calls.mutating()) / to_float(course.interfaces() as u64),
        times(peer.map(|peer| (to_float(calls), to_float(peer.calls)))),
        writes / to_float(course.interfaces() as u64),
        milliseconds(reconciles.quantile(0.5)),
        milliseconds(reconciles.quantile(0.99)),
        mib(memory.now),
        mib(memory.highest),
        times(peer.map(|peer| (mib(memory.now), to_float(peer.rss_mib)))),
    )
}

fn by_action(outcomes: &[Outcome]) -> String {
    let mut text = "| nodes × subnets | calls until attached, by action |\n|---|---|\n".to_owned();
    for Outcome {
        course, attached, ..
    } in outcomes
    {
        let _ = writeln!(text, "| {course} | {} |", attached.calls);
    }
    text
}

fn change_row(name: &str, lap: &Lap, peer: &Change) -> String {
    let calls = lap.calls.all();
    format!(
        "| {name} | {:.2} | {:.2} | {} | {calls}: {} | {} |\n",
        lap.in_ec2.as_secs_f64(),
        lap.told.as_secs_f64(),
        times(Some((lap.told.as_secs_f64(), peer.seconds))),
        lap.calls,
        times(Some((to_float(calls), to_float(peer.calls)))),
    )
}

/// The bound of a histogram's bucket.
fn milliseconds(bound: Option<Duration>) -> String {
    match bound {
        None => "-".to_owned(),
        Some(Duration::MAX) => "more".to_owned(),
        Some(bound) => format!("≤ {}", bound.as_millis()),
    }
}

/// Ours in units of the peer's.
fn times(ours_and_peers: Option<(f64, f64)>) -> String {
    match ours_and_peers {
        None => "-".to_owned(),
        Some((ours, peers)) => format!("**{}**", significant(ours / peers)),
    }
}

/// Two digits that mean something.
fn significant(ratio: f64) -> String {
    let decimals = if ratio == 0.0 {
        0
    } else if ratio < 0.01 {
        4
    } else if ratio < 0.1 {
        3
    } else {
        2
    };
    format!("{ratio:.decimals$}")
}

fn to_float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
