//! Reads what EventBridge tells of instances.
//!
//! Pure, and tolerant: an event is a hint where to look, and only EC2's own answer decides. What is
//! not understood is said to be so, and nothing follows from it.

mod expected;

use eniway_api::InstanceId;
use eniway_ec2::InstanceState;
use serde_json::Value;

pub use self::expected::Expected;

/// Something that was said of instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An instance is in another state.
    State(InstanceId, InstanceState),
    /// Amazon is going to do something to instances.
    Warning(Warning, Vec<InstanceId>, String),
}

/// What Amazon is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// End a spot instance in two minutes.
    SpotInterruption,
    /// Perhaps interrupt a spot instance.
    RebalanceRecommendation,
    /// Retire, reboot or maintain the instance.
    ScheduledChange,
}

/// A message that tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error("the message is no event: {0}")]
    Broken(&'static str),
    /// An event of a kind that the rules of the queue should leave out.
    #[error("events of the kind {0:?} mean nothing here")]
    Unknown(String),
}

impl Warning {
    /// The reason of a Kubernetes event, and the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpotInterruption => "SpotInterruption",
            Self::RebalanceRecommendation => "RebalanceRecommendation",
            Self::ScheduledChange => "ScheduledChange",
        }
    }
}

/// Reads one message; EventBridge's own, or one that came through SNS.
///
/// # Errors
/// Why nothing can be learnt from it.
pub fn read(body: &str) -> Result<News, Unread> {
    let event: Value = serde_json::from_str(body).map_err(|_said| Unread::Broken("not JSON"))?;
    let kind = &event["detail-type"];
    if let (Value::Null, Some(inner)) = (kind, event["Message"].as_str()) {
        let event = serde_json::from_str(inner);
        return of(&event.map_err(|_said| Unread::Broken("not JSON inside of SNS"))?);
    }
    of(&event)
}

fn of(event: &Value) -> Result<News, Unread> {
    let kind = event["detail-type"].as_str();
    let kind = kind.ok_or(Unread::Broken("no detail-type"))?;
    let detail = &event["detail"];
    let instance = || {
        let id = detail["instance-id"].as_str();
        let id = id.filter(|id| id.starts_with("i-"));
        let id = id.ok_or(Unread::Broken("no instance-id"));
        id.map(InstanceId::from)
    };
    match kind {
        "EC2 Instance State-change Notification" => {
            let said = detail["state"].as_str().unwrap_or_default();
            let state = state(said).ok_or(Unread::Broken("no state that is known"))?;
            Ok(News::State(instance()?, state))
        }
        "EC2 Spot Instance Interruption Warning" => {
            let action = detail["instance-action"].as_str().unwrap_or("interrupt");
            let text = format!("Amazon takes the spot instance back in two minutes: {action}");
            let all = vec![instance()?];
            Ok(News::Warning(Warning::SpotInterruption, all, text))
        }
        "EC2 Instance Rebalance Recommendation" => {
            let text = "Amazon expects to take the spot instance back".to_owned();
            let all = vec![instance()?];
            Ok(News::Warning(Warning::RebalanceRecommendation, all, text))
        }
        "AWS Health Event" if detail["eventTypeCategory"] == "scheduledChange" => {
            let entities = detail["affectedEntities"].as_array();
            let ids = entities.into_iter().flatten();
            let ids = ids.filter_map(|entity| entity["entityValue"].as_str());
            let all: Vec<_> = ids
                .filter(|id| id.starts_with("i-"))
                .map(InstanceId::from)
                .collect();
            if all.is_empty() {
                return Err(Unread::Unknown(format!("{kind} without instances")));
            }
            let what = detail["eventTypeCode"].as_str().unwrap_or("scheduled");
            let when = detail["startTime"].as_str().unwrap_or("an unknown time");
            let text = format!("Amazon changes the instance at {when}: {what}");
            Ok(News::Warning(Warning::ScheduledChange, all, text))
        }
        // A sender's word: of a length that a log can bear.
        kind => Err(Unread::Unknown(kind.chars().take(80).collect())),
    }
}

fn state(word: &str) -> Option<InstanceState> {
    Some(match word {
        "pending" => InstanceState::Pending,
        "running" => InstanceState::Running,
        "stopping" => InstanceState::Stopping,
        "stopped" => InstanceState::Stopped,
        "shutting-down" => InstanceState::ShuttingDown,
        "terminated" => InstanceState::Terminated,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
