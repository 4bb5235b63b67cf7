//! What EventBridge tells of instances is followed at once, and does no harm. Needs root.

use ec2_sim::{Effect, Fault, Warning, World};
use serde_json::json;
use simulation::door::QUEUE;

use super::{
    SUBNET_B,
    process::patient,
    rig::{Rig, Running},
    spec,
    world::instance_of,
};

impl Running {
    fn end(&self, node: &str) {
        self.call("TerminateInstances", "InstanceId.1", instance_of(node));
    }

    /// Somebody puts a message into the queue.
    fn send(&self, body: &str) {
        let mut world = self.door.world();
        let now = jiff::Timestamp::now();
        world.queue(QUEUE).unwrap().send("by-hand", body, now);
    }

    async fn until_attached(&self, number: usize) {
        self.until("they are attached", |state| state.attached() == number)
            .await;
    }

    async fn until_released(&self, what: &str, left: usize) {
        self.until(what, |state| state.records.len() == left).await;
    }
}

fn state(node: &str, state: &str) -> String {
    let detail = json!({"instance-id": instance_of(node), "state": state});
    let kind = "EC2 Instance State-change Notification";
    json!({"source": "aws.ec2", "detail-type": kind, "detail": detail}).to_string()
}

fn messages(world: &mut World) -> usize {
    world.queue(QUEUE).unwrap().len()
}

/// node1 and node3 are in the subnet's zone.
const NODES: usize = 3;

#[test]
fn the_end_of_an_instance_is_followed_at_once() {
    Rig::new(NODES).run(async |rig| {
        rig.door.world().add_queue(QUEUE);
        let controller = rig.listening();
        rig.wish("told", &spec(&[SUBNET_B])).await;
        rig.until_attached(2).await;
        // Its node stays, and nobody reads EC2 for ten minutes.
        rig.end("node1");
        rig.until_released("its record goes by the event", 1).await;
        assert_eq!(rig.ours().len(), 1);
        rig.until_events_are_deleted().await;
        controller.stop().await;
    });
}

#[test]
fn without_a_queue_the_end_of_an_instance_waits_for_the_whole_read() {
    Rig::new(NODES).run(async |rig| {
        let controller = rig.controller_at(patient());
        rig.wish("untold", &spec(&[SUBNET_B])).await;
        rig.until_attached(2).await;
        rig.end("node1");
        rig.until_world("EC2 has ended it", |enis| enis.len() == 1)
            .await;
        rig.unlabel("node3").await;
        rig.until_released("the other one is released meanwhile", 1)
            .await;
        let records = rig.state().await.records;
        assert!(records.values().all(|one| one.spec.node_name == "node1"));
        controller.stop().await;
    });
}

#[test]
fn messages_that_come_twice_late_or_broken_do_no_harm() {
    Rig::new(NODES).run(async |rig| {
        rig.door.world().add_queue(QUEUE).twice = true;
        let controller = rig.listening();
        rig.wish("noise", &spec(&[SUBNET_B])).await;
        rig.until_attached(2).await;
        let before = rig.calls("DescribeInstances");
        // The last one is a lie: EC2 does not say so.
        for body in [
            "no JSON",
            "{}",
            "{\"detail-type\": \"Tea\"}",
            "{\"detail-type\": \"EC2 Instance State-change Notification\", \"detail\": 7}",
            &state("node99", "terminated"),
            &state("node3", "running"),
            &state("node3", "terminated"),
        ] {
            rig.send(body);
        }
        rig.until_events_are_deleted().await;
        rig.end("node1");
        rig.until_released("its record goes", 1).await;
        rig.send(&state("node1", "running"));
        rig.send(&state("node1", "pending"));
        rig.until_events_are_deleted().await;
        let state = rig.state().await;
        assert_eq!((state.attached(), state.records.len()), (1, 1));
        assert_eq!(rig.ours().len(), 1);
        // Seven looks for the lie at most, and a few for the end.
        let looks = rig.calls("DescribeInstances") - before;
        assert!(looks <= 14, "{looks} looks");
        controller.stop().await;
    });
}

#[test]
fn a_queue_that_refuses_stops_nothing_and_is_asked_again() {
    Rig::new(NODES).run(async |rig| {
        // There is no queue at all, at first.
        let controller = rig.listening();
        rig.wish("refused", &spec(&[SUBNET_B])).await;
        rig.until_attached(2).await;
        let denied = Effect::Error {
            code: "AccessDenied".to_owned(),
            message: "not yours".to_owned(),
            status: None,
        };
        rig.fault(Fault::next("ReceiveMessage", 1, denied));
        rig.fault(Fault::next(
            "DeleteMessageBatch",
            1,
            Effect::ConnectionLostAfter,
        ));
        rig.door.world().add_queue(QUEUE);
        rig.end("node1");
        rig.until_released("its record goes by the event", 1).await;
        controller.stop().await;
    });
}

#[test]
fn a_warning_becomes_an_event_and_takes_nothing_away() {
    Rig::new(NODES).run(async |rig| {
        rig.door.world().add_queue(QUEUE);
        let controller = rig.listening();
        rig.wish("warned", &spec(&[SUBNET_B])).await;
        rig.until_attached(2).await;
        let instance = ec2_sim::InstanceId::parse(&instance_of("node1")).unwrap();
        for (warning, reason) in [
            (Warning::SpotInterruption, "SpotInterruption"),
            (Warning::Rebalance, "RebalanceRecommendation"),
            (Warning::ScheduledChange, "ScheduledChange"),
        ] {
            let now = jiff::Timestamp::now();
            rig.door.world().warn(&instance, warning, now);
            rig.until_event(reason).await;
        }
        rig.until_events_are_deleted().await;
        assert_eq!(rig.state().await.attached(), 2);
        assert_eq!(rig.ours().len(), 2);
        controller.stop().await;
    });
}

impl Running {
    async fn until_events_are_deleted(&self) {
        for _ in 0..600 {
            if messages(&mut self.door.world()) == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("never: the queue is empty");
    }
}
