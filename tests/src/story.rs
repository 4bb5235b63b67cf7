//! The main job from end to end: an object is applied, interfaces appear, packets are checked, things
//! go wrong, all is cleaned up. Each chapter asserts what it tells.

mod agents;
mod clean_up;
mod cloud;
mod counters;
mod flow;
mod frames;
mod killer;
mod lies;
mod pods;
mod port;
mod records;
mod screen;
mod set_up;
mod steering;
mod traffic;
mod trouble;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lab::{Host, Lab};

pub use self::screen::Screen;

use self::killer::Killer;

/// What the story needs of the machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the Helm chart.
    pub chart: PathBuf,
    /// Image archives of the controller and the agent.
    pub images: Vec<PathBuf>,
    /// Kill the agents in every chapter, at moments that this seed decides.
    pub kill_agents: Option<u64>,
}

/// A chapter's name and how long it took.
pub type Chapter = (&'static str, Duration);

/// What the chapters share.
struct Stage<'a> {
    lab: &'a Lab,
    /// A host of the VPC that is no node.
    peer: Host,
    screen: &'a Screen,
}

type Telling = fn(&Stage<'_>) -> anyhow::Result<()>;

const CHAPTERS: &[(&str, Telling)] = &[
    ("A NodeENI makes an interface on each node", set_up::apply),
    ("Honest packets pass", traffic::honest),
    (
        "Hostile packets are dropped and counted by reason",
        traffic::hostile,
    ),
    (
        "Enforcement is switched to Audit and back, live",
        traffic::audit,
    ),
    ("A steering rule drops, and is taken back", steering::rules),
    (
        "Pods share the interface, past the node's stack",
        pods::share,
    ),
    ("An agent is killed under traffic", trouble::agent_killed),
    ("An instance is terminated", trouble::instance_terminated),
    (
        "The label is removed from the other node",
        clean_up::label_removed,
    ),
    ("The NodeENI and the chart go", clean_up::uninstalled),
];

/// Tells the whole story in a lab of its own; an error names the chapter.
///
/// With `hold`, it is asked for before the clean-up and returns when the person has seen enough.
pub fn tell(
    options: &Options,
    screen: &Screen,
    hold: Option<&dyn Fn(&Lab)>,
) -> anyhow::Result<Vec<Chapter>> {
    let mut chapters = Vec::new();
    let begin = Instant::now();
    let title = "Two nodes in two zones, and helm install";
    screen.chapter(title);
    let lab = set_up::cluster(options, screen).context(title)?;
    chapters.push((title, begin.elapsed()));
    let live = screen.follow(lab.kubectl_command());
    let stage = Stage {
        lab: &lab,
        peer: lab.host("peer", "hosts-a")?,
        screen,
    };
    let mut killer = options.kill_agents.map(|seed| Killer::new(seed, screen));
    for (title, telling) in CHAPTERS {
        if let (Some(hold), true) = (hold, *title == CHAPTERS[7].0) {
            hold(&lab);
        }
        let begin = Instant::now();
        screen.chapter(title);
        let told = match &mut killer {
            None => telling(&stage),
            Some(killer) => killer.during(&lab, screen, || telling(&stage)),
        };
        told.with_context(|| {
            set_up::last_words(&lab);
            *title
        })?;
        chapters.push((title, begin.elapsed()));
    }
    if let Some(killer) = killer {
        killer.summary(screen)?;
    }
    drop((live, stage));
    let title = "Nothing is left on this machine";
    let begin = Instant::now();
    screen.chapter(title);
    clean_up::nothing_left(lab, screen).context(title)?;
    chapters.push((title, begin.elapsed()));
    Ok(chapters)
}

/// Asks again until `check` is content, and tells what it last said when it never is.
fn until(
    what: &str,
    mut check: impl FnMut() -> anyhow::Result<Result<(), String>>,
) -> anyhow::Result<()> {
    // Patience, no bound: a new leader waits for a lease and for the minute of EC2's grace.
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        match check()? {
            Ok(()) => return Ok(()),
            Err(last) if Instant::now() > deadline => {
                anyhow::bail!("waited four minutes for this: {what}; last seen: {last}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
