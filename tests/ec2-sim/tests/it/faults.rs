//! Calls that go wrong on purpose.

use std::time::Duration;

use ec2_sim::{Effect, Error, Fault, Request};

use crate::bench::{A, Bench, I};

const CREATE: &str = "CreateNetworkInterface SubnetId=subnet-0000000a";

fn refusal() -> Effect {
    Effect::Error {
        code: "InternalError".to_owned(),
        message: "An internal error has occurred".to_owned(),
        status: None,
    }
}

fn interfaces(bench: &Bench) -> usize {
    bench.world.interfaces().count()
}

#[test]
fn a_fault_strikes_the_calls_it_is_meant_for() {
    let struck = "InternalError: An internal error has occurred";
    for (fault, expected) in [
        (
            Fault::nth("CreateNetworkInterface", 2, refusal()),
            ["OK", struck, "OK"],
        ),
        (
            Fault::next("CreateNetworkInterface", 2, refusal()),
            [struck, struck, "OK"],
        ),
        (Fault::always("*", refusal()), [struck, struck, struck]),
        (
            Fault::always("DeleteNetworkInterface", refusal()),
            ["OK", "OK", "OK"],
        ),
        (
            Fault::next("*", 2, refusal()).with("SubnetId", "subnet-0000000a"),
            [struck, struck, "OK"],
        ),
        (
            Fault::always("*", refusal()).with("SubnetId", "subnet-0000000b"),
            ["OK", "OK", "OK"],
        ),
    ] {
        let mut bench = Bench::instant();
        bench.world.add_fault(fault.clone());
        assert_eq!([(); 3].map(|()| bench.say(CREATE)), expected, "{fault:?}");
    }
}

#[test]
fn a_connection_is_lost_before_or_after_the_call_is_carried_out() {
    for (effect, made) in [
        (Effect::ConnectionResetBefore, 0),
        (Effect::ConnectionLostAfter, 1),
    ] {
        let mut bench = Bench::instant();
        let before = interfaces(&bench);
        bench
            .world
            .add_fault(Fault::next("CreateNetworkInterface", 1, effect));
        let create = format!("{CREATE} ClientToken=t");
        assert_eq!(bench.ask(&create), Err(Error::ConnectionLost));
        assert_eq!(interfaces(&bench) - before, made);
        assert_eq!(bench.say(&create), "OK");
        assert_eq!(
            interfaces(&bench) - before,
            1,
            "the token finds what was made"
        );
    }
}

#[test]
fn throttling_html_and_delays_do_what_they_say() {
    let mut bench = Bench::instant();
    bench
        .world
        .add_fault(Fault::next("DescribeVpcs", 1, Effect::Throttle));
    bench
        .world
        .add_fault(Fault::next("DescribeVpcs", 1, Effect::Html { status: 502 }));
    bench.world.add_fault(Fault::next(
        "DescribeVpcs",
        1,
        Effect::Delay {
            ms: Duration::from_millis(300),
        },
    ));
    assert_eq!(
        bench.say("DescribeVpcs"),
        "RequestLimitExceeded: Request limit exceeded."
    );
    assert_eq!(bench.ask("DescribeVpcs"), Err(Error::Html { status: 502 }));
    bench.world.settings.latency_ms = Duration::from_millis(50);
    let reply = bench.world.serve(&Request::new("DescribeVpcs"), bench.now);
    assert_eq!(
        (reply.delay, reply.answer.is_ok()),
        (Duration::from_millis(350), true)
    );
}

#[test]
fn an_attachment_sticks_until_it_is_forced() {
    let mut bench = Bench::instant();
    bench.world.add_fault(Fault::next(
        "AttachNetworkInterface",
        1,
        Effect::StuckAttaching,
    ));
    bench.world.add_fault(Fault::next(
        "DetachNetworkInterface",
        1,
        Effect::StuckDetaching,
    ));
    let eni = bench.create(A);
    let attachment = bench.attach(&eni, I, 1);
    bench.wait(3_600_000);
    assert_eq!(bench.status(&eni), "attaching/attaching");
    let detach = format!("DetachNetworkInterface AttachmentId={attachment}");
    assert_eq!(bench.say(&detach), "OK");
    bench.wait(3_600_000);
    assert_eq!(bench.status(&eni), "detaching/detaching");
    assert_eq!(bench.say(&detach), "OK");
    assert_eq!(
        bench.status(&eni),
        "detaching/detaching",
        "patience does not help"
    );
    assert_eq!(bench.say(&format!("{detach} Force=true")), "OK");
    assert_eq!(bench.status(&eni), "available");
}

#[test]
fn an_attachment_vanishes() {
    let mut bench = Bench::instant();
    let effect = Effect::AttachmentVanishes {
        after_ms: Duration::from_millis(10),
    };
    bench
        .world
        .add_fault(Fault::next("AttachNetworkInterface", 1, effect));
    let eni = bench.create(A);
    bench.attach(&eni, I, 1);
    bench.wait(10);
    assert_eq!(bench.status(&eni), "available");
}

#[test]
fn a_fault_can_be_said_in_json() {
    let text = r#"{"action": "AttachNetworkInterface", "skip": 2, "times": 1, "effect": {"kind": "attachment-vanishes", "after_ms": 5}}"#;
    let effect = Effect::AttachmentVanishes {
        after_ms: Duration::from_millis(5),
    };
    assert_eq!(
        serde_json::from_str::<Fault>(text).unwrap(),
        Fault::nth("AttachNetworkInterface", 3, effect)
    );
}
