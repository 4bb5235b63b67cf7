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

/// What must be remembered of one record between rounds; all of it can be lost.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) in_force: Option<InForce>,
    pub(super) xdp_reason: Option<String>,
    pub(super) failed: Option<Failed>,
    pub(super) missing_since: Option<Instant>,
    pub(super) phase: NodePhase,
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
