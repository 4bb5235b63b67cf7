//! Kills the agents of all nodes once in each chapter, at moments that a seed decides: the story must
//! end as it does when nobody dies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use lab::Lab;

use super::set_up::NODES;
use super::{Screen, agents};

/// The latest moment of a chapter at which agents are killed; no chapter of packets takes longer.
const LATEST_MS: u64 = 3000;
/// Between two looks for an agent that the chapter before has left dead.
const LOOK: Duration = Duration::from_millis(20);

/// Decides the moments and counts the dead.
#[derive(Debug)]
pub(super) struct Killer {
    random: fastrand::Rng,
    chapters: u32,
    struck: u32,
}

impl Killer {
    pub(super) fn new(seed: u64, screen: &Screen) -> Self {
        screen.fact(&format!(
            "agents will die in every chapter; for the same moments again, --kill-agents={seed}"
        ));
        Self {
            random: fastrand::Rng::with_seed(seed),
            chapters: 0,
            struck: 0,
        }
    }

    /// Kills while `chapter` is told. Its failure says more than the killer's, so it comes first.
    pub(super) fn during(
        &mut self,
        lab: &Lab,
        screen: &Screen,
        chapter: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let moment = Duration::from_millis(self.random.u64(..LATEST_MS));
        let over = AtomicBool::new(false);
        let (told, killed) = thread::scope(|scope| {
            let killer = scope.spawn(|| strike(lab, moment, &over));
            let told = chapter();
            over.store(true, Ordering::Relaxed);
            let killed = killer.join();
            (
                told,
                killed.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        });
        told?;
        let killed = killed?;
        self.chapters += 1;
        self.struck += u32::from(killed > 0);
        screen.fact(&format!(
            "{killed} of {} agents killed {moment:?} into it",
            NODES.len()
        ));
        Ok(())
    }

    /// At the end: that most chapters did see their agents die, or all this would prove nothing.
    pub(super) fn summary(&self, screen: &Screen) -> anyhow::Result<()> {
        let Self {
            chapters, struck, ..
        } = self;
        ensure!(
            struck * 4 >= chapters * 3,
            "agents died in {struck} of {chapters} chapters only"
        );
        screen.fact(&format!("agents died in {struck} of {chapters} chapters"));
        Ok(())
    }
}

/// Waits for the moment, then kills what agents there are. Where there is none yet, for the one to come,
/// as long as the chapter lasts.
fn strike(lab: &Lab, moment: Duration, over: &AtomicBool) -> anyhow::Result<usize> {
    thread::sleep(moment);
    loop {
        let last = over.load(Ordering::Relaxed);
        let mut killed = 0;
        for node in NODES {
            killed += usize::from(agents::kill(lab, node)?);
        }
        if killed > 0 || last {
            return Ok(killed);
        }
        thread::sleep(LOOK);
    }
}
