//! Measures ways from an ENI into a pod and back, on real stacks: frames a second, and TCP. Needs root, iproute2,
//! ethtool, iptables, nftables, iperf3 and the reference CNI plugins; `cargo xtask bench data-path` calls it.
//!
//! Everything is in namespaces that go with the process: a host of the VPC, the node, a pod. The host's end is made
//! like a wire: frame by frame, as an ENA receives them. One CPU sends and does all that follows, so that the source's
//! own share is in every number, and the ratios are the least that the ways differ by.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its tables are what it is for"
)]

mod load;
mod way;
mod world;

use std::time::Duration;

use self::{
    load::Load,
    way::{Ending, Way},
    world::{Done, World},
};

/// Each way is made and measured so many times, in turns.
const ROUNDS: usize = 5;
/// How long packets are sent in a round, and TCP flows.
const PACKETS: Duration = Duration::from_millis(500);
const TCP: Duration = Duration::from_secs(1);

fn main() -> Done<()> {
    world::enter()?;
    let ways = Way::ALL;
    let drops = Ending::ALL;
    let mut measured = vec![Vec::new(); ways.len()];
    let mut dropped = vec![Vec::new(); drops.len()];
    for round in 0..ROUNDS {
        eprintln!("      round {} of {ROUNDS}", round + 1);
        for (end, rates) in drops.iter().zip(&mut dropped) {
            let world = World::new()?;
            let guard = end.make(&world)?;
            rates.push(load::arrivals(&world, &end.frame(), PACKETS)?);
            drop(guard);
        }
        for (way, loads) in ways.iter().zip(&mut measured) {
            let mut world = World::new()?;
            let made = way.make(&mut world)?;
            loads.push(Load::measure(&world, *way, PACKETS, TCP)?);
            drop(made);
        }
    }

    println!("| frames that arrive and end, one CPU | million a second | × bare drop |");
    println!("|---|---|---|");
    let bare = median(&dropped[0]);
    for (end, rates) in drops.iter().zip(&dropped) {
        let rate = median(rates);
        println!(
            "| {} | {:.2} | {:.2} |",
            end.name(),
            rate / 1e6,
            rate / bare
        );
    }
    println!();
    println!(
        "| from the ENI into a pod and back | frames into the pod, million a second | × forwarding | \
         TCP into the pod, Gbit/s | × ptp | TCP out of the pod, Gbit/s | × ptp |"
    );
    println!("|---|---|---|---|---|---|---|");
    let of = |way: usize, what: fn(&Load) -> f64| {
        let values: Vec<f64> = measured[way].iter().map(what).collect();
        median(&values)
    };
    let at = |wanted| ways.iter().position(|way| *way == wanted).unwrap_or(0);
    let (forwarding, ptp) = (at(Way::Forwarding), at(Way::Ptp));
    let columns: [Column; 3] = [
        (|load| load.frames, forwarding, 1e6),
        (|load| load.into_pod, ptp, 1e9),
        (|load| load.out_of_pod, ptp, 1e9),
    ];
    for (number, way) in ways.iter().enumerate() {
        print!("| {} |", way.name());
        for (what, base, unit) in columns {
            let value = of(number, what);
            print!(" {:.2} | {:.2} |", value / unit, value / of(base, what));
        }
        println!();
    }
    Ok(())
}

/// What is shown, the way that it is compared with, and its unit.
type Column = (fn(&Load) -> f64, usize, f64);

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
