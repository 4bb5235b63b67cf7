//! What this process remembers of a record, and may forget: losing it costs a look at EC2, no more.
//!
//! Pure: time is an argument.

mod assignment;

use std::time::{Duration, Instant};

use eniway_api::EniId;
use eniway_ec2::Verdict;

pub use self::assignment::Assignment;
use crate::pace::Pace;

/// What is remembered of one record.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub creation: Creation,
    /// What became of the assignment of addresses that the status tells of.
    pub assignment: Assignment,
    /// When EC2 was last asked for interfaces with the record's UID.
    pub searched: Option<Instant>,
    /// No EC2 call for it before then.
    pub hold: Option<Hold>,
    /// How often in a row EC2 refused.
    pub failures: u32,
    /// Since when it is being detached, as far as we saw.
    pub detaching_since: Option<Instant>,
    /// EC2 was told to detach by force.
    pub forced: bool,
    /// When EC2 was last asked for its very interface.
    pub asked: Option<Instant>,
    /// Since when what is known of it may be wrong: a call failed, or others may have marked it, too.
    pub doubted: Option<Instant>,
    /// When EC2 was last told to attach it.
    pub attaching: Option<Instant>,
    /// When EC2 was last told to set tags on it, our marks among them.
    pub marking: Option<Instant>,
    /// When EC2 is asked again what became of it.
    pub pace: Pace,
}

/// What is known of the record's create calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Creation {
    /// The record is older than this process: another one may have called.
    #[default]
    Unknown,
    /// The record is ours and nobody called yet.
    Untried,
    /// A call went out and its answer is not known.
    Unanswered(Instant),
    /// EC2 gave this interface.
    Answered(EniId),
}

/// Why and until when a record is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub until: Instant,
    pub verdict: Verdict,
    pub reason: &'static str,
    pub message: String,
    /// The record's generation: a changed wish is tried at once.
    pub generation: i64,
}

impl Memory {
    /// A record that this process has just written.
    #[must_use]
    pub fn fresh() -> Self {
        Self {
            creation: Creation::Untried,
            ..Self::default()
        }
    }

    /// Counts a refusal and says how long to leave the record alone. `jitter` is 0 to 1.
    pub fn backoff(&mut self, verdict: Verdict, jitter: f64) -> Duration {
        let (first, most) = steps(verdict);
        let step = first.saturating_mul(1 << self.failures.min(12)).min(most);
        self.failures += 1;
        step.mul_f64(0.8 + 0.4 * jitter)
    }

    /// Whether EC2 was asked for the interface since there was reason to.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.asked
            .is_some_and(|asked| self.doubted.is_none_or(|since| asked >= since))
    }

    /// EC2 did what was asked: the next refusal counts anew.
    pub fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        self.hold = None;
        self.pace = Pace::after(now);
    }
}

/// The first pause and the longest one after a refusal; each is twice the one before.
const fn steps(verdict: Verdict) -> (Duration, Duration) {
    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
    match verdict {
        Verdict::AlreadyDone => (Duration::ZERO, Duration::ZERO),
        Verdict::Throttled | Verdict::Wait => (seconds(1), seconds(30)),
        Verdict::Transient => (Duration::from_millis(500), seconds(60)),
        Verdict::Replan => (Duration::from_millis(250), seconds(300)),
        Verdict::Invalid => (seconds(30), seconds(600)),
        Verdict::Denied => (seconds(60), seconds(600)),
    }
}
