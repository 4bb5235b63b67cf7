//! Parts that only compute, run while others mostly wait: one after the other, with what those leave of the
//! machine. Each is shown when it is its turn.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::count::Count;
use super::parts::Part;
use crate::workspace::Workspace;

/// The parts that run, and what became of those that have ended.
pub(crate) struct Beside {
    ended: Receiver<(&'static str, Result<Ended>)>,
}

/// A part that has run.
pub(crate) struct Ended {
    pub(crate) said: String,
    pub(crate) count: Count,
    pub(crate) took: Duration,
}

impl Beside {
    /// Starts the first of `parts`; the others follow.
    pub(crate) fn start(workspace: &Workspace, parts: &[&'static Part]) -> Self {
        let folder = workspace.target.join("beside");
        let names: Vec<_> = parts.iter().map(|part| part.name).collect();
        let (sender, ended) = channel();
        thread::spawn(move || {
            for name in names {
                let log = folder.join(format!("{name}.log"));
                // Nobody listens any more: the test was ended.
                if sender.send((name, alone(name, &log))).is_err() {
                    return;
                }
            }
        });
        Self { ended }
    }

    /// Waits for a part; they are asked for in the order in which they run.
    pub(crate) fn wait(&self, part: &Part) -> Result<Ended> {
        let (name, ended) = self.ended.recv().context("the parts beside have ended")?;
        debug_assert_eq!(name, part.name, "the order is that of the list");
        ended
    }
}

/// This very program, asked for one part, at the lowest priority.
fn alone(name: &'static str, log: &PathBuf) -> Result<Ended> {
    let start = Instant::now();
    fs::create_dir_all(log.parent().unwrap_or(Path::new("/")))?;
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let program = env::current_exe().context("find this program")?;
    let status = Command::new("nice")
        .args(["-n", "19"])
        .arg(program)
        .args(["test", name])
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .context("start nice")?;
    let said = fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    let counted = said.lines().rev().find_map(Count::of_summary);
    let count = match counted {
        Some(count) if status.success() || count.failed > 0 => count,
        // It ended before it could count.
        _ => Count::FAILED,
    };
    Ok(Ended {
        said,
        count,
        took: start.elapsed(),
    })
}
