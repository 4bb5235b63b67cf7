//! Messages, and what is learnt from them.

use std::time::{Duration, Instant};

use eniway_ec2::{Instance, InstanceState, Snapshot};

use super::{Expected, News, read};

/// One line for what a message says.
fn said(body: &str) -> String {
    match read(body) {
        Ok(News::State(id, state)) => format!("{id} is {state:?}"),
        Ok(News::Warning(warning, ids, text)) => {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            format!("{} {}: {text}", warning.as_str(), ids.join(" "))
        }
        Err(error) => error.to_string(),
    }
}

const STATE: &str = r#"{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification",
    "detail":{"instance-id":"i-1","state":"shutting-down"},"version":"7","new":{"field":1}}"#;

#[test]
fn every_kind_is_understood() {
    let spot = r#"{"detail-type":"EC2 Spot Instance Interruption Warning",
        "detail":{"instance-id":"i-1","instance-action":"terminate"}}"#;
    let rebalance = r#"{"detail-type":"EC2 Instance Rebalance Recommendation",
        "detail":{"instance-id":"i-1"}}"#;
    let health = r#"{"detail-type":"AWS Health Event","detail":{"service":"EC2",
        "eventTypeCategory":"scheduledChange","eventTypeCode":"RETIREMENT","startTime":"then",
        "affectedEntities":[{"entityValue":"i-1"},{"entityValue":"vol-1"},{},{"entityValue":"i-2"}]}}"#;
    let wrapped = serde_json::json!({"Type": "Notification", "Message": STATE}).to_string();
    for (body, expected) in [
        (STATE, "i-1 is ShuttingDown"),
        (&wrapped, "i-1 is ShuttingDown"),
        (
            spot,
            "SpotInterruption i-1: Amazon takes the spot instance back in two minutes: terminate",
        ),
        (
            rebalance,
            "RebalanceRecommendation i-1: Amazon expects to take the spot instance back",
        ),
        (
            health,
            "ScheduledChange i-1 i-2: Amazon changes the instance at then: RETIREMENT",
        ),
    ] {
        assert_eq!(said(body), expected);
    }
}

#[test]
fn what_is_not_understood_is_said_to_be_so() {
    let issue = r#"{"detail-type":"AWS Health Event","detail":{"eventTypeCategory":"issue"}}"#;
    let nobody = r#"{"detail-type":"EC2 Instance Rebalance Recommendation","detail":{}}"#;
    let odd = r#"{"detail-type":"EC2 Instance State-change Notification",
        "detail":{"instance-id":"i-1","state":"melted"}}"#;
    for (body, expected) in [
        ("", "the message is no event: not JSON"),
        ("[1,2", "the message is no event: not JSON"),
        ("7", "the message is no event: no detail-type"),
        ("{\"detail\":[]}", "the message is no event: no detail-type"),
        (
            "{\"Message\":\"}\"}",
            "the message is no event: not JSON inside of SNS",
        ),
        (
            issue,
            "events of the kind \"AWS Health Event\" mean nothing here",
        ),
        (nobody, "the message is no event: no instance-id"),
        (odd, "the message is no event: no state that is known"),
        (
            "{\"detail-type\":\"Tea\"}",
            "events of the kind \"Tea\" mean nothing here",
        ),
    ] {
        assert_eq!(said(body), expected, "{body}");
    }
}

/// EC2 shows the instance so.
fn showing(state: InstanceState, at: Instant) -> Snapshot {
    let mut snapshot = Snapshot::new(Duration::ZERO);
    let instance = Instance {
        id: "i-1".into(),
        vpc: None,
        instance_type: "m5.large".to_owned(),
        zone: "a".to_owned(),
        state,
        interfaces: Vec::new(),
    };
    snapshot.read_instances(&["i-1".into()], vec![instance], at);
    snapshot
}

#[test]
fn an_instance_is_asked_for_until_ec2_says_what_the_event_said() {
    use InstanceState::{Running, ShuttingDown, Terminated};
    let now = Instant::now();
    let id = "i-1".into();
    let mut expected = Expected::default();
    let running = showing(Running, now);
    let asks = |expected: &mut Expected, snapshot: &Snapshot, now| {
        let (other, this) = ("i-0".into(), "i-1".into());
        expected.unsettled(&[&other, &this], snapshot, now).len()
    };
    assert!(expected.heard(&id, ShuttingDown, &running, now));
    assert!(!expected.heard(&id, ShuttingDown, &running, now), "twice");
    assert!(!expected.heard(&id, Running, &running, now), "late");
    assert_eq!(asks(&mut expected, &running, now), 1);
    // The end was seen, or a later one: there is nothing to wait for.
    for state in [ShuttingDown, Terminated] {
        let mut expected = expected.clone();
        assert_eq!(asks(&mut expected, &showing(state, now), now), 0);
        assert_eq!(asks(&mut expected, &running, now), 0);
    }
    assert!(expected.heard(&id, Terminated, &running, now));
    assert!(!expected.heard(&id, ShuttingDown, &running, now), "late");
    // EC2 never says so: the event was wrong.
    let later = now + Duration::from_secs(61);
    assert_eq!(asks(&mut expected, &running, later), 0);
}
