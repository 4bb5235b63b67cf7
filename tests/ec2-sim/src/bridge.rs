//! EventBridge: tells every queue what happens to instances, in EventBridge's words.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ids::InstanceId;
use crate::model::InstanceState;
use crate::queue::Queue;
use crate::world::World;

/// What Amazon says of an instance before anything happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A spot instance ends in two minutes.
    SpotInterruption,
    /// A spot instance may be interrupted.
    Rebalance,
    /// The hardware is to be retired.
    ScheduledChange,
}

impl World {
    /// Adds a queue; everything that EventBridge tells goes there from now on.
    pub fn add_queue(&mut self, name: &str) -> &mut Queue {
        self.queues.entry(name.to_owned()).or_default()
    }

    /// The queue, if there is one.
    pub fn queue(&mut self, name: &str) -> Option<&mut Queue> {
        self.queues.get_mut(name)
    }

    /// The URL of a queue that is served at `url`.
    #[must_use]
    pub fn queue_url(&self, url: &str, name: &str) -> String {
        format!("{url}/{}/{name}", self.account)
    }

    /// Amazon warns of what it will do to an instance.
    pub fn warn(&mut self, instance: &InstanceId, warning: Warning, now: Timestamp) {
        let (source, kind, detail) = match warning {
            Warning::SpotInterruption => (
                "aws.ec2",
                "EC2 Spot Instance Interruption Warning",
                json!({"instance-id": instance, "instance-action": "terminate"}),
            ),
            Warning::Rebalance => (
                "aws.ec2",
                "EC2 Instance Rebalance Recommendation",
                json!({"instance-id": instance}),
            ),
            Warning::ScheduledChange => (
                "aws.health",
                "AWS Health Event",
                json!({
                    "service": "EC2",
                    "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED",
                    "eventTypeCategory": "scheduledChange",
                    "startTime": "Sat, 05 Jun 2027 15:10:09 GMT",
                    "affectedEntities": [{"entityValue": instance}],
                }),
            ),
        };
        self.tell_queues(source, kind, instance, &detail, now);
    }

    pub(crate) fn tell_state(&mut self, id: &InstanceId, state: InstanceState, now: Timestamp) {
        let detail = json!({"instance-id": id, "state": state});
        let kind = "EC2 Instance State-change Notification";
        self.tell_queues("aws.ec2", kind, id, &detail, now);
    }

    fn tell_queues(
        &mut self,
        source: &str,
        kind: &str,
        instance: &InstanceId,
        detail: &Value,
        now: Timestamp,
    ) {
        if self.queues.is_empty() {
            return;
        }
        let (region, account) = (&self.region, &self.account);
        let event = json!({
            "version": "0",
            "id": self.namer.request(),
            "detail-type": kind,
            "source": source,
            "account": account,
            "time": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "region": region,
            "resources": [format!("arn:aws:ec2:{region}:{account}:instance/{instance}")],
            "detail": detail,
        });
        for queue in self.queues.values_mut() {
            queue.send(&self.namer.request(), &event.to_string(), now);
        }
    }
}
