//! The real controller in a simulated world: hours pass in milliseconds, everything goes wrong, and
//! one seed decides all of it.
//!
//! The controller's own `run` runs unchanged, two of it with one lease, on tokio's paused clock. Models
//! stand behind its two doors: the simulator's core for EC2, and an API server in a few maps. While
//! the weather is rough, answers are late, refused or lost after the deed, reads and watches lag,
//! events come twice, watches start anew, controllers are killed, and people do what people do. Then
//! it is calm, and the laws of [`laws`] must hold.
#![expect(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod agents;
mod api_server;
mod chaos;
mod clock;
mod cluster;
mod ec2;
mod fleet;
mod laws;
mod nodes;
mod peer;
mod pools;
mod queue;
mod routes;
mod store;
mod weather;

use std::{env, thread, time::Duration};

use eniway_controller::{config::LogFormat, telemetry::log};

use self::{chaos::Chaos, cluster::Cluster, ec2::Sabotage};

/// A world is made of small objects that come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Longer than any pause that a controller makes after a refusal: by then all must be well.
const CALM: Duration = Duration::from_secs(900);
/// After so many looks in a row that found all well and nothing done, nothing may be done any more.
const SETTLED: u32 = 2;
const LOOK: Duration = Duration::from_secs(60);
/// Long enough for two whole reads.
const QUIET: Duration = Duration::from_secs(150);

/// What a seed led to.
struct Outcome {
    broken: Vec<String>,
    /// What happened, and all that the store holds in the end.
    story: String,
}

fn simulate(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut cluster = Cluster::new(seed, sabotage);
        let mut chaos = Chaos::new();
        chaos.rage(&mut cluster, 20).await;
        let calm = tokio::time::Instant::now();
        let mut broken = Vec::new();
        let mut before = cluster.deeds();
        let mut settled = 0;
        while settled < SETTLED && calm.elapsed() < CALM {
            tokio::time::sleep(LOOK).await;
            chaos.confirm(&cluster);
            broken = laws::broken(&cluster);
            let now = cluster.deeds();
            settled = if broken.is_empty() && now == before {
                settled + 1
            } else {
                0
            };
            before = now;
        }
        tokio::time::sleep(QUIET).await;
        let after = cluster.deeds();
        if before != after {
            broken.push(format!("not quiet: {before:?}, then {after:?}"));
        }
        broken.extend(laws::broken(&cluster));
        Outcome {
            broken,
            story: format!("{}\n{}", chaos.log(), cluster.tell()),
        }
    })
}

/// `ENIWAY_SEEDS`: how many; `ENIWAY_SEED`: this one alone, with the controllers' logs.
#[expect(
    clippy::disallowed_methods,
    reason = "libtest leaves a test no flags of its own"
)]
fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match (number("ENIWAY_SEED"), number("ENIWAY_SEEDS")) {
        (Some(one), _) => {
            log(LogFormat::Text, "info,eniway_controller=debug");
            one..one + 1
        }
        (None, Some(many)) => 0..many,
        (None, None) => 0..default,
    }
}

/// The first seed that breaks a law, and which.
fn first_broken(sabotage: Option<Sabotage>, seeds: std::ops::Range<u64>) -> Option<(u64, Outcome)> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let found = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let seeds = seeds.clone();
                scope.spawn(move || {
                    seeds
                        .skip(worker)
                        .step_by(threads)
                        .map(|seed| (seed, simulate(seed, sabotage)))
                        .find(|(_, outcome)| !outcome.broken.is_empty())
                })
            })
            .collect();
        let found = workers
            .into_iter()
            .filter_map(|worker| worker.join().unwrap());
        found.collect::<Vec<_>>()
    });
    found.into_iter().min_by_key(|(seed, _)| *seed)
}

#[test]
fn the_laws_hold_whatever_happens() {
    if let Some((seed, outcome)) = first_broken(None, seeds(50)) {
        panic!(
            "seed {seed} breaks\n  {}\nreplay it: ENIWAY_SEED={seed} cargo test --package simulation \
             --profile simulation the_laws\n{}",
            outcome.broken.join("\n  "),
            outcome.story
        );
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 3] {
        assert_eq!(simulate(seed, None).story, simulate(seed, None).story);
    }
}

#[test]
fn a_broken_rule_is_found() {
    for sabotage in [
        Sabotage::NewToken,
        Sabotage::NoTags,
        Sabotage::AbsentIsGone,
        Sabotage::NoAdoption,
        Sabotage::KeptMarks,
        Sabotage::KeptRoutes,
    ] {
        let found = first_broken(Some(sabotage), 0..1_000);
        assert!(found.is_some(), "{sabotage:?} went unnoticed");
    }
}
