//! What is remembered of one record between rounds, and what follows from an action for it.

use std::time::{Duration, Instant};

use eniway_api::NodePhase;

use super::alarm::Alarm;
use crate::{
    apply::brief,
    bpf::{AttachReport, IngressMode, WantedIngress},
    desired::Wish,
    observe::Presence,
    plan::{Action, InForce},
    status::{Failure, MISSING, Reason},
};

/// How late record and metadata may be. The controller reads EC2 as a whole every 60 to 66 seconds.
const LATE: Duration = Duration::from_secs(90);

/// What must be remembered of one record between rounds; all of it can be lost.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) in_force: Option<InForce>,
    pub(super) xdp_reason: Option<String>,
    pub(super) failed: Option<Failed>,
    pub(super) missing_since: Option<Instant>,
    pub(super) phase: NodePhase,
    /// Where the metadata differs from the record, and since when.
    difference: Option<(String, Instant)>,
    /// When its interface came, while it is not set up.
    came: Option<Instant>,
    /// The name of its interface, while it is here.
    pub(super) interface: Option<String>,
}

/// An action that failed, and what it was about: when that changes, it is tried at once.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) wish: Wish,
    pub(super) presence: Presence,
    pub(super) attempts: u32,
    pub(super) retry_at: Instant,
}

impl Memory {
    /// Remembers what `action` has done. Native XDP that was demanded and refused is a failure, though
    /// the check runs on TC meanwhile.
    pub(super) fn applied(
        &mut self,
        action: &Action,
        report: Option<AttachReport>,
    ) -> Option<Failure> {
        match action {
            Action::AttachGuard {
                index,
                guard,
                reason,
                ..
            } => {
                let report = report?;
                let refused = guard.ingress == WantedIngress::XdpNative
                    && report.mode != IngressMode::XdpNative;
                let told = report.reason.as_deref().map(brief);
                self.xdp_reason = told.or_else(|| reason.clone());
                self.in_force = Some(InForce {
                    config: guard.config.clone(),
                    attached: (!refused).then_some((*index, guard.ingress)),
                    steering: guard.steering.clone(),
                });
                let reason = self.xdp_reason.as_deref().unwrap_or("no reason was given");
                refused.then(|| Failure {
                    reason: report.obstacle.map_or(Reason::ProgramRefused, Reason::of),
                    message: format!("{action}: native XDP was refused: {reason}"),
                })
            }
            Action::ReplaceGuard { guard, .. } => {
                self.in_force = Some(InForce {
                    config: guard.config.clone(),
                    attached: None,
                    steering: guard.steering.clone(),
                });
                None
            }
            Action::ConfigureGuard { config, .. } => {
                let before = self.in_force.take();
                self.in_force = Some(InForce::configured(before, config.clone()));
                None
            }
            Action::DetachGuard { .. } => {
                self.in_force = None;
                self.xdp_reason = None;
                None
            }
            Action::SetMtu { .. }
            | Action::RestoreMtu { .. }
            | Action::ForgetMtu { .. }
            | Action::SetChannels { .. }
            | Action::RestoreChannels { .. }
            | Action::ForgetChannels { .. }
            | Action::SetUp { .. }
            | Action::RemovePod { .. }
            | Action::Network(_)
            | Action::Device(_) => None,
        }
    }

    /// How long it took to set the interface up, when this look finds that it is: `woken` is when the kernel's event
    /// came. One that an earlier agent has set up counts no more.
    pub(super) fn set_up(
        &mut self,
        before: Option<NodePhase>,
        now: NodePhase,
        woken: Instant,
    ) -> Option<Duration> {
        if self.interface.is_none() || before == Some(NodePhase::Ready) {
            self.came = None;
            return None;
        }
        let came = *self.came.get_or_insert(woken);
        (now == NodePhase::Ready).then(|| {
            self.came = None;
            came.elapsed()
        })
    }

    /// Remembers how the metadata differs from the record.
    pub(super) fn differs(&mut self, difference: Option<String>, now: Instant, alarm: &mut Alarm) {
        let since = match (&self.difference, &difference) {
            (Some((_, since)), Some(_)) => *since,
            _ => now,
        };
        if difference.is_some() && now < since + LATE {
            alarm.at(since + LATE);
        }
        self.difference = difference.map(|difference| (difference, since));
    }

    /// Where the metadata has differed for longer than one of the two may be late.
    pub(super) fn lasting_difference(&self, now: Instant) -> Option<&str> {
        let (difference, since) = self.difference.as_ref()?;
        (now >= *since + LATE).then_some(difference)
    }

    /// How long the interface has been missing; not while a pod has it, or DPDK.
    pub(super) fn missing(
        &mut self,
        wish: &Wish,
        presence: &Presence,
        is_elsewhere: bool,
        now: Instant,
        alarm: &mut Alarm,
    ) -> Duration {
        let is_missing =
            matches!(wish, Wish::Provide(_)) && *presence == Presence::Absent && !is_elsewhere;
        if !is_missing {
            self.missing_since = None;
            return Duration::ZERO;
        }
        let since = *self.missing_since.get_or_insert(now);
        if now < since + MISSING {
            alarm.at(since + MISSING);
        }
        now - since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_once_neither_can_be_late_any_more() {
        let (mut memory, mut alarm) = (Memory::default(), Alarm::default());
        let start = Instant::now();
        let mut told = |seconds, difference: Option<&str>| {
            let now = start + Duration::from_secs(seconds);
            memory.differs(difference.map(str::to_owned), now, &mut alarm);
            memory.lasting_difference(now).map(str::to_owned)
        };
        assert_eq!(told(0, Some("one")), None);
        assert_eq!(told(60, Some("another")), None);
        assert_eq!(told(90, Some("another")).as_deref(), Some("another"));
        assert_eq!(told(91, None), None);
        assert_eq!(told(100, Some("one")), None, "it begins anew");
        assert_eq!(told(189, Some("one")), None);
        assert!(told(190, Some("one")).is_some());
    }
}
