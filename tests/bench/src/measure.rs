//! Runs one course and writes down what it took.
//!
//! Every clock starts when the API server tells of the user's change, which is also when the
//! controller gets to know of it.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use lab::{Config, Lab};

use crate::calls::Calls;
use crate::course::Course;
use crate::ec2::{Ec2, Mark};
use crate::kubernetes::{add_node, furnish, node_name, remove_label, unwish, wish};
use crate::metrics::{self, Reconciles};
use crate::program::{Memory, Program, apply_definitions};
use crate::watch::{Event, Watch};

/// As long as the peer was watched.
const QUIET: Duration = Duration::from_secs(60);

/// What one change took.
#[derive(Clone, Debug)]
pub(crate) struct Lap {
    /// Until EC2 had done it.
    pub(crate) in_ec2: Duration,
    /// Until Kubernetes said so, too.
    pub(crate) told: Duration,
    /// Until then.
    pub(crate) calls: Calls,
}

/// What is left of a course.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) course: Course,
    pub(crate) attached: Lap,
    /// Of the API server's objects, meanwhile.
    pub(crate) writes: f64,
    /// Of a node, meanwhile; with the calls that were made for it.
    pub(crate) reconciles: Reconciles,
    /// Calls in the minute after that.
    pub(crate) quiet: Option<Calls>,
    pub(crate) memory: Memory,
    pub(crate) changes: Option<Changes>,
}

/// What happened to a cluster that had everything attached.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) add_a_node: Lap,
    pub(crate) remove_a_label: Lap,
    pub(crate) delete_all: Lap,
}

/// Starts everything anew, so that no course knows of another.
pub(crate) fn measure(course: &Course, controller: &Path) -> Result<Outcome> {
    let lab = Lab::start(Config::control_plane_only(), &|line| {
        eprintln!("      {line}");
    })
    .context("start an API server")?;
    let ec2 = Ec2::start(course)?;
    apply_definitions(controller, &lab)?;
    furnish(&lab, course)?;
    let program = Program::start(controller, course, &lab, &ec2)?;
    let run = Run {
        course,
        lab: &lab,
        ec2: &ec2,
        node_enis: Watch::open(&lab, "nodeenis")?,
    };
    let outcome = run.all(&program);
    outcome.with_context(|| format!("measure {course}; the controller said:\n{}", program.said()))
}

struct Run<'a> {
    course: &'a Course,
    lab: &'a Lab,
    ec2: &'a Ec2,
    node_enis: Watch,
}

impl Run<'_> {
    fn all(&self, program: &Program) -> Result<Outcome> {
        let (writes, reconciles) = (metrics::writes(self.lab)?, program.reconciles()?);
        let attached = self.attach()?;
        let writes = metrics::writes(self.lab)? - writes;
        let reconciles = program.reconciles()?.since(&reconciles);
        let quiet = self.course.quiet.then(|| {
            let mark = self.ec2.mark();
            eprintln!(
                "      attached; watching for {} quiet seconds",
                QUIET.as_secs()
            );
            thread::sleep(QUIET);
            &self.ec2.calls() - &mark.calls
        });
        Ok(Outcome {
            course: self.course.clone(),
            attached,
            writes,
            reconciles,
            quiet,
            memory: program.memory()?,
            changes: self.course.changes.then(|| self.change()).transpose()?,
        })
    }

    /// The user asks for all interfaces.
    fn attach(&self) -> Result<Lap> {
        let mark = self.ec2.mark();
        wish(self.lab, self.course)?;
        let start = self
            .node_enis
            .until("the NodeENI exists", |event| event.kind == "ADDED")?;
        self.until_attached(&mark, start, self.course.nodes, self.course.interfaces())
    }

    fn change(&self) -> Result<Changes> {
        Ok(Changes {
            add_a_node: self.add_a_node()?,
            remove_a_label: self.remove_a_label()?,
            delete_all: self.delete_all()?,
        })
    }

    fn add_a_node(&self) -> Result<Lap> {
        let number = self.course.nodes + 1;
        let nodes = Watch::open(self.lab, "nodes")?;
        self.ec2.add_instance(number)?;
        let mark = self.ec2.mark();
        add_node(self.lab, number)?;
        let start = nodes.until("the node exists", |event| event.name() == node_name(number))?;
        self.until_attached(&mark, start, number, self.course.subnets)
    }

    /// Until every node has its interfaces, of which `count` are new.
    fn until_attached(
        &self,
        mark: &Mark,
        start: Timestamp,
        nodes: usize,
        count: usize,
    ) -> Result<Lap> {
        let wanted = nodes * self.course.subnets;
        let mut attached = std::collections::BTreeMap::new();
        let told = self.node_enis.until("all are attached", |event| {
            let count = event.object["status"]["attached"].as_u64().unwrap_or(0);
            attached.insert(event.name().to_owned(), count);
            attached.values().sum::<u64>() == wanted as u64
        })?;
        let in_ec2 = self.ec2.attached(mark, count);
        self.lap(mark, start, in_ec2, told)
    }

    /// The last node is not wanted any more. Its agent never was there, so nobody is waited for.
    fn remove_a_label(&self) -> Result<Lap> {
        let number = self.course.nodes + 1;
        let nodes = Watch::open(self.lab, "nodes")?;
        let records = Watch::open(self.lab, "nodeeniattachments")?;
        let mark = self.ec2.mark();
        remove_label(self.lab, number)?;
        let start = nodes.until("the label is gone", |event| {
            event.name() == node_name(number) && event.object["metadata"]["labels"]["ng"].is_null()
        })?;
        let told = self.until_gone(&records, "its records are gone", self.course.subnets)?;
        let in_ec2 = self.ec2.deleted(&mark, self.course.subnets);
        self.lap(&mark, start, in_ec2, told)
    }

    fn delete_all(&self) -> Result<Lap> {
        let mark = self.ec2.mark();
        unwish(self.lab)?;
        let start = self.node_enis.until("the NodeENI is deleted", |event| {
            !event.object["metadata"]["deletionTimestamp"].is_null()
        })?;
        let told = self.until_gone(&self.node_enis, "the NodeENI is gone", 1)?;
        let in_ec2 = self.ec2.deleted(&mark, self.course.interfaces());
        self.lap(&mark, start, in_ec2, told)
    }

    fn until_gone(&self, watch: &Watch, what: &str, count: usize) -> Result<Timestamp> {
        let mut gone = 0;
        watch.until(what, |event: &Event| {
            gone += usize::from(event.kind == "DELETED");
            gone == count
        })
    }

    fn lap(
        &self,
        mark: &Mark,
        start: Timestamp,
        in_ec2: Option<Timestamp>,
        told: Timestamp,
    ) -> Result<Lap> {
        let in_ec2 = in_ec2.context("Kubernetes says that it is done, and EC2 does not")?;
        let since =
            |at: Timestamp| Duration::try_from(at.duration_since(start)).unwrap_or_default();
        Ok(Lap {
            in_ec2: since(in_ec2),
            told: since(told),
            calls: &self.ec2.calls() - &mark.calls,
        })
    }
}

impl fmt::Display for Lap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, in_ec2) = (self.told.as_secs_f64(), self.in_ec2.as_secs_f64());
        write!(f, "{told:.2} s ({in_ec2:.2} s in EC2), {}", self.calls)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attached after {}", self.attached)?;
        if let Some(quiet) = &self.quiet {
            write!(f, "; then {quiet}")?;
        }
        if let Some(changes) = &self.changes {
            let Changes {
                add_a_node,
                remove_a_label,
                delete_all,
            } = changes;
            write!(
                f,
                "; a node more after {add_a_node}; a label less after {remove_a_label}; \
                 nothing left after {delete_all}"
            )?;
        }
        Ok(())
    }
}
