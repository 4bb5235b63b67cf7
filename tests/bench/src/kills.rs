//! Kills the controller in the midst of its work, again and again, and looks at what is left in EC2.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::{Config, Lab};

use crate::course::Course;
use crate::ec2::Ec2;
use crate::kubernetes::{furnish, unwish, wish};
use crate::peer::{KILLED, LEAKED};
use crate::program::{Program, apply_definitions};
use crate::watch::{Event, Watch};

/// About as long as it takes to attach, and to let go: kills are spread evenly over it.
const WORK: Duration = Duration::from_millis(1500);

/// What was found after all runs.
#[derive(Debug, Default)]
struct Found {
    runs: u32,
    /// Runs after which EC2 had more than was wished for, or something left when nothing was.
    leaked: u32,
}

/// Labs side by side, of half a GiB each. A run takes a minute, nearly all of it waiting: for the lease of who was killed to end, and for
/// reads to be as late as they may.
const LABS: u32 = 20;

/// Kills a controller twice in each run: while it attaches, and while it lets go.
pub(crate) fn run(runs: u32, controller: &Path) -> Result<String> {
    let course = Course::of_kills();
    let found = Mutex::new(Found::default());
    thread::scope(|scope| {
        let labs = (0..LABS.min(runs)).map(|first| {
            let (course, found) = (&course, &found);
            scope.spawn(move || runs_of(first, runs, course, controller, found))
        });
        let labs: Vec<_> = labs.collect();
        labs.into_iter().try_for_each(|lab| {
            let ended = lab.join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(format!(
        "| killed while it attaches and while it lets go, {course} | runs | runs that leaked | peer |\n\
         |---|---|---|---|\n| `SIGKILL`, then started again | {} | **{}** | {LEAKED} of {KILLED} |\n",
        found.runs, found.leaked
    ))
}

/// Every `LABS`th run, in a lab of their own.
fn runs_of(
    first: u32,
    runs: u32,
    course: &Course,
    controller: &Path,
    found: &Mutex<Found>,
) -> Result<()> {
    let lab = Lab::start(Config::control_plane_only(), &|line| {
        eprintln!("      {line}");
    })
    .context("start an API server")?;
    let ec2 = Ec2::start(course)?;
    apply_definitions(controller, &lab)?;
    furnish(&lab, course)?;
    for run in (first..runs).step_by(LABS as usize) {
        let after = WORK * run / runs;
        // An API server ends a watch after half an hour.
        let node_enis = Watch::open(&lab, "nodeenis")?;
        let clean = round(&lab, &ec2, course, controller, &node_enis, after);
        let clean = clean.with_context(|| format!("run {run}, killed after {after:?}"))?;
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.runs += 1;
        found.leaked += u32::from(!clean);
        eprintln!(
            "      {} of {runs} runs, {} leaked",
            found.runs, found.leaked
        );
    }
    Ok(())
}

/// Whether EC2 had, after each half, what was wished for and nothing else.
fn round(
    lab: &Lab,
    ec2: &Ec2,
    course: &Course,
    controller: &Path,
    node_enis: &Watch,
    after: Duration,
) -> Result<bool> {
    let program = Program::start(controller, course, lab, ec2)?;
    let (primaries, wished) = (course.nodes, course.interfaces());
    wish(lab, course)?;
    node_enis.until("the NodeENI exists", |event| event.kind == "ADDED")?;
    thread::sleep(after);
    drop(program);

    let program = Program::start(controller, course, lab, ec2)?;
    node_enis.until("all are attached", |event| {
        event.object["status"]["attached"].as_u64() == Some(wished as u64)
    })?;
    let attached = ec2.interfaces();
    unwish(lab)?;
    thread::sleep(after);
    drop(program);

    let program = Program::start(controller, course, lab, ec2)?;
    // It may have gone before.
    if !lab.kubectl(&["get", "nodeenis", "-o", "name"])?.is_empty() {
        node_enis.until("the NodeENI is gone", |event: &Event| {
            event.kind == "DELETED"
        })?;
    }
    let left = ec2.interfaces();
    drop(program);
    ensure!(left >= primaries, "a primary interface is gone");
    Ok(attached == primaries + wished && left == primaries)
}
