//! Faults of EC2 and of the API server cost time and nothing else.

use std::time::Duration;

use ec2_sim::{Effect, Fault, Settings};

use super::{SUBNET_B, rig::Rig, spec};

fn survives(fault: Fault) {
    Rig::new(1).run(async |rig| {
        rig.fault(fault);
        let controller = rig.controller();
        rig.wish("faulty", &spec(&[SUBNET_B])).await;
        rig.until("it is attached all the same", |state| state.attached() == 1)
            .await;
        assert_eq!(rig.ours().len(), 1);
        rig.unwish("faulty").await;
        rig.until("nothing is left", |state| state.records.is_empty())
            .await;
        assert_eq!(rig.ours().len(), 0);
        controller.stop().await;
    });
}

#[test]
fn throttling_costs_time_only() {
    survives(Fault::next("AttachNetworkInterface", 2, Effect::Throttle));
}

#[test]
fn an_html_page_costs_time_only() {
    survives(Fault::next(
        "CreateNetworkInterface",
        1,
        Effect::Html { status: 500 },
    ));
}

#[test]
fn a_server_error_costs_time_only() {
    for action in ["CreateNetworkInterface", "DescribeNetworkInterfaces"] {
        let effect = Effect::Error {
            code: "InternalError".to_owned(),
            message: "An internal error has occurred".to_owned(),
            status: Some(500),
        };
        survives(Fault::next(action, 2, effect));
    }
}

#[test]
fn a_create_whose_answer_is_lost_makes_one_interface() {
    survives(Fault::next(
        "CreateNetworkInterface",
        1,
        Effect::ConnectionLostAfter,
    ));
}

#[test]
fn an_attach_whose_answer_is_lost_attaches_once() {
    survives(Fault::next(
        "AttachNetworkInterface",
        1,
        Effect::ConnectionLostAfter,
    ));
}

#[test]
fn a_lost_answer_to_any_other_call_costs_time_only() {
    for action in [
        "ModifyNetworkInterfaceAttribute",
        "DetachNetworkInterface",
        "DeleteNetworkInterface",
    ] {
        survives(Fault::next(action, 1, Effect::ConnectionLostAfter));
    }
}

#[test]
fn stuck_attachments_and_slow_answers_end_well() {
    Rig::with(
        1,
        Settings {
            read_lag_ms: Duration::from_millis(300),
            ..Settings::default()
        },
    )
    .run(async |rig| {
        rig.fault(Fault::next(
            "CreateNetworkInterface",
            1,
            Effect::Delay {
                ms: Duration::from_secs(6),
            },
        ));
        let controller = rig.controller();
        rig.wish("slow", &spec(&[SUBNET_B])).await;
        rig.until("one is attached", |state| state.attached() == 1)
            .await;
        assert_eq!(rig.ours().len(), 1);
        controller.stop().await;
    });
}

#[test]
fn a_restarted_api_server_leaks_nothing() {
    Rig::new(1).run(async |rig| {
        // EC2 makes the interface, and answers when the API server is away.
        let ms = Duration::from_secs(2);
        rig.fault(Fault::next(
            "CreateNetworkInterface",
            1,
            Effect::Delay { ms },
        ));
        let controller = rig.controller();
        rig.wish("restart", &spec(&[SUBNET_B])).await;
        rig.until_world("EC2 made it", |enis| enis.len() == 1).await;
        rig.restart_apiserver();
        rig.until("it is attached", |state| state.attached() == 1)
            .await;
        assert_eq!(rig.ours().len(), 1);
        rig.restart_apiserver();
        rig.unwish("restart").await;
        rig.until("nothing is left", |state| {
            state.node_enis.is_empty() && state.records.is_empty()
        })
        .await;
        assert_eq!(rig.ours().len(), 0);
        controller.stop().await;
    });
}
