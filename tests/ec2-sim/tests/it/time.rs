//! What happens while time passes: attachments, instances, stale reads, events, token buckets.

use std::time::Duration;

use ec2_sim::{Settings, What};

use crate::bench::{A, Bench, I, MICRO, PENDING, STOPPED, attach};

fn slow() -> Settings {
    let delay = Duration::from_millis(1000);
    Settings {
        attach_ms: delay,
        detach_ms: delay,
        start_ms: delay,
        stop_ms: delay,
        terminate_ms: delay,
        ..Settings::default()
    }
}

#[test]
fn an_attachment_takes_its_time() {
    let mut bench = Bench::with(slow());
    let eni = bench.create(A);
    assert_eq!(bench.status(&eni), "available");
    let attachment = bench.attach(&eni, I, 1);
    bench.wait(999);
    assert_eq!(bench.status(&eni), "attaching/attaching");
    bench.wait(1);
    assert_eq!(bench.status(&eni), "in-use/attached");
    let detach = format!("DetachNetworkInterface AttachmentId={attachment}");
    assert_eq!(bench.say(&detach), "OK");
    bench.wait(999);
    assert_eq!(bench.status(&eni), "detaching/detaching");
    assert_eq!(bench.say(&detach), "OK", "asking again changes nothing");
    let other = bench.create(A);
    assert!(
        bench
            .say(&attach(&other, I, 1))
            .contains("already has an interface attached"),
        "the place is taken until it is free"
    );
    bench.wait(1);
    assert_eq!(bench.status(&eni), "available");
    assert!(
        bench
            .say(&detach)
            .starts_with("InvalidAttachmentID.NotFound: ")
    );
}

#[test]
fn a_detach_overtakes_an_attach() {
    let mut bench = Bench::with(slow());
    let eni = bench.create(A);
    let attachment = bench.attach(&eni, I, 1);
    bench.wait(500);
    assert_eq!(
        bench.say(&format!("DetachNetworkInterface AttachmentId={attachment}")),
        "OK"
    );
    bench.wait(500);
    assert_eq!(
        bench.status(&eni),
        "detaching/detaching",
        "the attach does not complete any more"
    );
    bench.wait(500);
    assert_eq!(bench.status(&eni), "available");
}

#[test]
fn a_stopped_instance_takes_and_gives_at_once() {
    let mut bench = Bench::with(slow());
    let eni = bench.create(A);
    let attachment = bench.attach(&eni, STOPPED, 1);
    assert_eq!(bench.status(&eni), "in-use/attached");
    assert_eq!(
        bench.say(&format!("DetachNetworkInterface AttachmentId={attachment}")),
        "OK"
    );
    assert_eq!(bench.status(&eni), "available");
}

#[test]
fn an_instance_goes_through_its_states() {
    let mut bench = Bench::with(slow());
    let steps = [
        ("StopInstances", "stopping", "stopped"),
        ("StartInstances", "pending", "running"),
        ("TerminateInstances", "shutting-down", "terminated"),
    ];
    for (action, during, after) in steps {
        assert_eq!(bench.say(&format!("{action} InstanceId.1={MICRO}")), "OK");
        assert_eq!(bench.state(MICRO), during);
        bench.wait(1000);
        assert_eq!(bench.state(MICRO), after);
    }
    assert!(
        bench
            .say(&format!("StartInstances InstanceId.1={MICRO}"))
            .starts_with("IncorrectInstanceState: ")
    );
    assert!(
        bench
            .say(&format!("StopInstances InstanceId.1={PENDING}"))
            .starts_with("IncorrectInstanceState: ")
    );
    bench.wait(3_600_000);
    assert!(
        bench
            .say(&format!("DescribeInstances InstanceId.1={MICRO}"))
            .starts_with("InvalidInstanceID.NotFound: ")
    );
}

#[test]
fn a_termination_overtakes_a_start() {
    let mut bench = Bench::with(slow());
    bench.say(&format!("StartInstances InstanceId.1={STOPPED}"));
    bench.wait(500);
    bench.say(&format!("TerminateInstances InstanceId.1={STOPPED}"));
    bench.wait(500);
    assert_eq!(bench.state(STOPPED), "shutting-down");
    bench.wait(500);
    assert_eq!(bench.state(STOPPED), "terminated");
}

#[test]
fn a_launched_instance_is_pending_and_has_its_primary_interface() {
    let mut bench = Bench::with(slow());
    let run = format!(
        "RunInstances ImageId=ami-1 MinCount=1 MaxCount=1 InstanceType=m5.large SubnetId={A} PrivateIpAddress=10.0.1.99"
    );
    let instance = bench.get(&run, "instanceId");
    assert_eq!(bench.state(&instance), "pending");
    let describe = format!("DescribeInstances InstanceId.1={instance}");
    assert_eq!(bench.get(&describe, "privateIpAddress"), "10.0.1.99");
    assert_eq!(bench.get(&describe, "deleteOnTermination"), "true");
    bench.wait(1000);
    assert_eq!(bench.state(&instance), "running");
}

#[test]
fn readers_see_the_past() {
    let mut bench = Bench::with(Settings {
        read_lag_ms: Duration::from_millis(2000),
        ..Settings::instant()
    });
    bench.wait(2000);
    let eni = bench.create(A);
    assert_eq!(bench.status(&eni), "gone");
    bench.wait(1999);
    assert_eq!(bench.status(&eni), "gone");
    bench.wait(1);
    assert_eq!(bench.status(&eni), "available");
    bench.attach(&eni, I, 1);
    assert_eq!(bench.status(&eni), "available");
    bench.wait(2000);
    assert_eq!(bench.status(&eni), "in-use/attached");
}

#[test]
fn a_fresh_interface_is_unknown_for_a_while() {
    let mut bench = Bench::with(Settings {
        fresh_eni_hidden_ms: Duration::from_millis(500),
        ..Settings::instant()
    });
    let eni = bench.create(A);
    let unknown = format!(
        "InvalidNetworkInterfaceID.NotFound: The networkInterface ID '{eni}' does not exist"
    );
    assert_eq!(bench.say(&attach(&eni, I, 1)), unknown);
    bench.wait(500);
    assert_eq!(bench.say(&attach(&eni, I, 1)), "OK");
}

#[test]
fn events_tell_what_a_lab_must_plug() {
    let mut bench = Bench::with(slow());
    let before = bench.world.last_sequence();
    let eni = bench.create(A);
    let attachment = bench.attach(&eni, I, 1);
    bench.wait(1000);
    bench.say(&format!("DetachNetworkInterface AttachmentId={attachment}"));
    bench.wait(1000);
    bench.say(&format!("DeleteNetworkInterface NetworkInterfaceId={eni}"));
    let events = bench.world.events_after(before);
    let told: Vec<String> = events
        .iter()
        .map(|event| match &event.what {
            What::Attaching(plug)
            | What::Attached(plug)
            | What::Detaching(plug)
            | What::Detached(plug) => {
                assert_eq!(
                    (
                        plug.instance.as_str(),
                        plug.eni.as_str(),
                        plug.attachment.as_str()
                    ),
                    (I, eni.as_str(), attachment.as_str())
                );
                assert_eq!((plug.device_index, plug.network_card), (1, 0));
                serde_json::to_value(event).unwrap()["event"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            }
            _ => serde_json::to_value(event).unwrap()["event"]
                .as_str()
                .unwrap()
                .to_owned(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "eni-created",
            "attaching",
            "attached",
            "detaching",
            "detached",
            "eni-deleted"
        ]
    );
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence - before).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    let at = |index: usize| events[index].at.duration_since(events[0].at).as_millis();
    assert_eq!(
        (at(2), at(4)),
        (1000, 2000),
        "an event carries its own time, not that of the next call"
    );
}

#[test]
fn token_buckets_limit_each_action() {
    let mut bench = Bench::with(Settings {
        buckets: true,
        ..Settings::instant()
    });
    let dry = "DetachNetworkInterface AttachmentId=eni-attach-0000dead";
    let admitted = |bench: &mut Bench, calls: usize| {
        (0..calls)
            .filter(|_| bench.say(dry) != "RequestLimitExceeded: Request limit exceeded.")
            .count()
    };
    assert_eq!(admitted(&mut bench, 60), 50);
    bench.wait(1000);
    assert_eq!(admitted(&mut bench, 60), 5);
    assert_eq!(
        bench.say("DescribeSubnets"),
        "OK",
        "another action has its own bucket"
    );
}
