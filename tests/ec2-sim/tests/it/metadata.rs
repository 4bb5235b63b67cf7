//! The metadata service of an instance.

use std::net::TcpListener;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use ec2_sim::{InstanceId, Options, Server, Settings, WorldSpec, imds};
use jiff::Timestamp;

use crate::bench::{A, BIG, Bench, I, SIX, spec};
use crate::client::Client;

fn tell(bench: &Bench, instance: &str, path: &str) -> Option<String> {
    bench
        .world
        .metadata(&InstanceId::parse(instance).unwrap(), path, bench.now)
}

#[test]
fn an_instance_learns_about_itself() {
    let bench = Bench::instant();
    for (path, value) in [
        ("/latest/meta-data/mac", "06:00:00:00:00:01"),
        ("/latest/meta-data/instance-id", I),
        ("/latest/meta-data/instance-type", "t3.medium"),
        (
            "/latest/meta-data/placement/availability-zone",
            "us-east-1a",
        ),
        ("/latest/meta-data/placement/region", "us-east-1"),
        ("/latest/meta-data/local-ipv4", "10.0.1.10"),
        (
            "/latest/meta-data/network/interfaces/macs/",
            "06:00:00:00:00:01/",
        ),
        (
            "/latest/meta-data/network/interfaces/macs/06:00:00:00:00:01/device-number",
            "0",
        ),
        ("/latest/meta-data/placement", "availability-zone\nregion"),
    ] {
        assert_eq!(tell(&bench, I, path).as_deref(), Some(value), "{path}");
    }
    let document = tell(&bench, I, "/latest/dynamic/instance-identity/document").unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (&document["region"], &document["instanceId"]),
        (&"us-east-1".into(), &I.into())
    );
    assert_eq!(tell(&bench, I, "/latest/meta-data/nothing"), None);
}

#[test]
fn an_interface_is_described_by_its_mac() {
    let mut bench = Bench::instant();
    let create =
        format!("CreateNetworkInterface SubnetId={SIX} Ipv4PrefixCount=1 Ipv6AddressCount=1");
    let body = bench.ask(&create).unwrap();
    let value = |element: &str| crate::bench::first(&body, element).unwrap().to_owned();
    let (eni, mac) = (value("networkInterfaceId"), value("macAddress"));
    let attach = format!(
        "AttachNetworkInterface NetworkInterfaceId={eni} InstanceId={BIG} DeviceIndex=1 NetworkCardIndex=3"
    );
    assert_eq!(bench.say(&attach), "OK");
    for (key, wanted) in [
        ("interface-id", eni.as_str()),
        ("device-number", "1"),
        ("network-card", "3"),
        ("local-ipv4s", &value("privateIpAddress")),
        ("ipv6s", &value("ipv6Address")),
        ("ipv4-prefix", &value("ipv4Prefix")),
        ("subnet-id", SIX),
        ("subnet-ipv4-cidr-block", "10.0.6.0/24"),
        ("subnet-ipv6-cidr-blocks", "2001:db8:1:6::/64"),
        ("vpc-ipv4-cidr-blocks", "10.0.0.0/16"),
        ("vpc-id", "vpc-00000001"),
        ("security-group-ids", "sg-00000001"),
        ("owner-id", "123456789012"),
    ] {
        let path = format!("/latest/meta-data/network/interfaces/macs/{mac}/{key}");
        assert_eq!(tell(&bench, BIG, &path).as_deref(), Some(wanted), "{key}");
    }
    let absent = format!("/latest/meta-data/network/interfaces/macs/{mac}/ipv6-prefix");
    assert_eq!(tell(&bench, BIG, &absent), None, "an empty list has no key");
}

#[test]
fn the_device_number_is_zero_until_it_arrives() {
    let lag = Duration::from_millis(500);
    let mut bench = Bench::with(Settings {
        attach_ms: lag,
        metadata_lag_ms: lag,
        ..Settings::instant()
    });
    let eni = bench.create(A);
    bench.attach(&eni, I, 2);
    let mac = bench
        .world
        .interfaces()
        .find(|it| it.id.as_str() == eni)
        .unwrap()
        .mac
        .clone();
    let path = format!("/latest/meta-data/network/interfaces/macs/{mac}/device-number");
    for (wait, told) in [(0, "0"), (500, "0"), (499, "0"), (1, "2")] {
        bench.wait(wait);
        assert_eq!(tell(&bench, I, &path).as_deref(), Some(told));
    }
}

#[tokio::test]
async fn a_session_token_opens_the_door() {
    let world = WorldSpec {
        settings: Settings::instant(),
        ..spec()
    }
    .build(Timestamp::now())
    .unwrap();
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(world, listener(), Options::default())
        .await
        .unwrap();
    let service = imds::serve(&server, InstanceId::parse(I).unwrap(), listener()).unwrap();
    let url = |path: &str| format!("http://{}/latest/{path}", service.address());
    let client = Client::new();
    let get = async |token: Option<&str>| {
        let request = Request::get(url("meta-data/instance-id"));
        let request = if let Some(token) = token {
            request.header("X-aws-ec2-metadata-token", token)
        } else {
            request
        };
        client.send(request, ()).await.unwrap()
    };
    assert_eq!(get(None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(get(Some("guessed")).await.0, StatusCode::UNAUTHORIZED);
    let ask = async |ttl: Option<&str>| {
        let request = Request::put(url("api/token"));
        let request = if let Some(ttl) = ttl {
            request.header("X-aws-ec2-metadata-token-ttl-seconds", ttl)
        } else {
            request
        };
        client.send(request, ()).await.unwrap()
    };
    assert_eq!(ask(Some("0")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(None).await.0, StatusCode::BAD_REQUEST);
    let (_, token) = ask(Some("60")).await;
    assert_eq!(get(Some(&token)).await, (StatusCode::OK, I.to_owned()));
    server.advance(Duration::from_secs(61));
    assert_eq!(get(Some(&token)).await.0, StatusCode::UNAUTHORIZED);
}
