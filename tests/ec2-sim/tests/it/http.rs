//! The wire: what a client sees of the Query protocol and of the control API.

use std::net::TcpListener;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use ec2_sim::{Effect, Fault, Options, Server, Settings, What, WorldSpec};
use hyper_util::client::legacy::Error;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::bench::{A, I, first, spec};
use crate::client::Client;

struct Wire {
    server: Server,
    client: Client,
}

impl Wire {
    async fn start(settings: Settings) -> Self {
        let world = WorldSpec { settings, ..spec() }
            .build(Timestamp::now())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(world, listener, Options::default())
            .await
            .unwrap();
        Self {
            server,
            client: Client::new(),
        }
    }

    async fn post(&self, form: &str) -> Result<(StatusCode, String), Error> {
        let request = Request::post(self.server.url())
            .header("authorization", "AWS4-HMAC-SHA256 x")
            .header("content-type", "application/x-www-form-urlencoded");
        self.client.send(request, form.to_owned()).await
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}/_control/{path}", self.server.url());
        let request = Request::builder().method(method).uri(url);
        let (status, text) = self.client.send(request, body.to_string()).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

#[tokio::test]
async fn an_answer_has_the_namespace_and_a_request_id() {
    let wire = Wire::start(Settings::instant()).await;
    let (status, body) = wire
        .post("Action=DescribeVpcs&Version=2016-11-15")
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(
        body.contains(
            "<DescribeVpcsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>"
        ),
        "{body}"
    );
}

#[tokio::test]
async fn a_refusal_has_code_message_and_status() {
    let wire = Wire::start(Settings::instant()).await;
    for (form, status, code) in [
        ("Action=Nothing&Version=2016-11-15", 400, "InvalidAction"),
        (
            "Action=CreateNetworkInterface&SubnetId=subnet-0000000a&DryRun=true&Version=2016-11-15",
            412,
            "DryRunOperation",
        ),
    ] {
        let (got, body) = wire.post(form).await.unwrap();
        assert_eq!((got.as_u16(), first(&body, "Code")), (status, Some(code)));
        assert!(
            body.contains("<Response><Errors><Error><Code>") && body.contains("<RequestID>"),
            "{body}"
        );
    }
    let url = format!("{}/?Action=DescribeVpcs", wire.server.url());
    let (status, body) = wire.client.get(&url).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(first(&body, "Code"), Some("MissingAuthenticationToken"));
}

#[tokio::test]
async fn a_query_string_works_like_a_form() {
    let wire = Wire::start(Settings::instant()).await;
    let url = format!(
        "{}/?Action=DescribeSubnets&Filter.1.Name=tag%3AName&Filter.1.Value.1=a",
        wire.server.url()
    );
    let request = Request::get(url).header("authorization", "x");
    let (_, body) = wire.client.send(request, ()).await.unwrap();
    assert_eq!(first(&body, "subnetId"), Some(A));
}

#[tokio::test]
async fn a_fault_reaches_the_wire() {
    let wire = Wire::start(Settings::instant()).await;
    let count = || {
        wire.server
            .with_world(|world, _| world.interfaces().count())
    };
    let before = count();
    let create =
        format!("Action=CreateNetworkInterface&SubnetId={A}&ClientToken=t&Version=2016-11-15");
    for effect in [Effect::ConnectionResetBefore, Effect::ConnectionLostAfter] {
        wire.server.with_world(|world, _| {
            world.add_fault(Fault::next("CreateNetworkInterface", 1, effect.clone()));
        });
        let error = wire.post(&create).await.unwrap_err();
        assert!(!error.is_connect(), "{effect:?}: {error:?}");
    }
    assert_eq!(count() - before, 1);
    assert_eq!(wire.post(&create).await.unwrap().0, StatusCode::OK);
    assert_eq!(count() - before, 1);
    wire.server
        .with_world(|world, _| world.add_fault(Fault::next("*", 1, Effect::Html { status: 502 })));
    let (status, body) = wire.post(&create).await.unwrap();
    assert_eq!((status.as_u16(), body.starts_with("<html>")), (502, true));
    wire.server
        .with_world(|world, _| world.add_fault(Fault::next("*", 1, Effect::Throttle)));
    let (status, body) = wire.post(&create).await.unwrap();
    assert_eq!(
        (status.as_u16(), first(&body, "Message")),
        (503, Some("Request limit exceeded."))
    );
}

#[tokio::test]
async fn events_arrive_by_themselves() {
    let delay = Duration::from_millis(20);
    let wire = Wire::start(Settings {
        attach_ms: delay,
        ..Settings::instant()
    })
    .await;
    let mut events = wire.server.events();
    let (_, body) = wire
        .post(&format!("Action=CreateNetworkInterface&SubnetId={A}"))
        .await
        .unwrap();
    let eni = first(&body, "networkInterfaceId").unwrap().to_owned();
    let attach = format!(
        "Action=AttachNetworkInterface&NetworkInterfaceId={eni}&InstanceId={I}&DeviceIndex=1"
    );
    assert_eq!(wire.post(&attach).await.unwrap().0, StatusCode::OK);
    // No call is made any more: the timer must ring.
    loop {
        if let What::Attached(plug) = events.recv().await.unwrap().what {
            assert_eq!(plug.eni.as_str(), eni);
            break;
        }
    }
}

#[tokio::test]
async fn a_control_client_builds_watches_and_spoils() {
    let wire = Wire::start(Settings::instant()).await;
    let added = json!({
        "subnets": [{"id": "subnet-00000077", "zone": "us-east-1c", "cidr": "10.0.77.0/24"}],
        "instances": [{"id": "i-00000077", "instance_type": "m5.large", "subnet": "subnet-00000077"}],
    });
    assert_eq!(
        wire.control("POST", "world", added).await["instances"],
        json!(["i-00000077"])
    );
    let world = wire.control("GET", "world", json!(null)).await;
    assert!(
        world["instances"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["id"] == "i-00000077" && it["zone"] == "us-east-1c")
    );
    let changed = wire
        .control("PATCH", "settings", json!({"attach_ms": 1000}))
        .await;
    assert_eq!(
        (&changed["attach_ms"], &changed["detach_ms"]),
        (&json!(1000), &json!(0))
    );
    let fault = json!({"action": "DescribeVpcs", "times": 1, "effect": {"kind": "throttle"}});
    wire.control("POST", "faults", fault).await;
    assert_eq!(
        wire.post("Action=DescribeVpcs").await.unwrap().0.as_u16(),
        503
    );
    assert_eq!(
        wire.control("GET", "counters", json!(null)).await,
        json!({"DescribeVpcs": {"RequestLimitExceeded": 1}})
    );
}

#[tokio::test]
async fn a_manual_clock_stands_until_it_is_advanced() {
    let wire = Wire::start(Settings {
        attach_ms: Duration::from_secs(60),
        ..Settings::instant()
    })
    .await;
    wire.control("PUT", "clock", json!({"mode": "manual"}))
        .await;
    let (_, body) = wire
        .post(&format!("Action=CreateNetworkInterface&SubnetId={A}"))
        .await
        .unwrap();
    let eni = first(&body, "networkInterfaceId").unwrap().to_owned();
    wire.post(&format!(
        "Action=AttachNetworkInterface&NetworkInterfaceId={eni}&InstanceId={I}&DeviceIndex=1"
    ))
    .await
    .unwrap();
    let seen = wire.server.with_world(|world, _| world.last_sequence());
    let nothing = wire
        .control(
            "GET",
            &format!("events?after={seen}&timeout_ms=0"),
            json!(null),
        )
        .await;
    assert_eq!(nothing, json!([]));
    let path = format!("events?after={seen}");
    let waiting = wire.control("GET", &path, json!(null));
    let (told, _) = tokio::join!(
        waiting,
        wire.control("POST", "clock/advance", json!({"ms": 60_000}))
    );
    assert_eq!(
        (&told[0]["event"], &told[0]["eni"]),
        (&json!("attached"), &json!(eni))
    );
}
