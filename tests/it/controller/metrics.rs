//! What the controller tells of pools and orphans on /metrics.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use eniway_api::{EniPool, mark};
use eniway_controller::config::Orphans;
use kube::{Api, api::DeleteParams};

use super::{
    SUBNET_A, SUBNET_B, orphans, pool,
    process::config,
    rig::{Rig, Running},
};

/// An address that nobody listens on.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The value of a gauge with these labels, whatever their order; `None`: it is not told.
fn gauge(address: SocketAddr, name: &str, labels: &[&str]) -> Option<i64> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = b"GET /metrics HTTP/1.0\r\nHost: controller\r\n\r\n";
    stream.write_all(request).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let line = text.lines().find(|line| {
        line.starts_with(&format!("eniway_controller_{name}{{"))
            && labels
                .iter()
                .all(|label| line.contains(&format!("\"{label}\"")))
    });
    line?.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_pool_is_told_of_by_zone_until_it_is_gone() {
    Rig::new(1).run(async |rig| {
        let address = free_address();
        let mut config = config();
        config.metrics_address = Some(address);
        let controller = rig.controller_at(config);
        pool::member(rig, SUBNET_A, "10.0.8.10");
        for last in 10..12 {
            pool::member(rig, SUBNET_B, &format!("10.0.12.{last}"));
        }
        pool::select(rig).await;
        let members = |zone, state| gauge(address, "pool_members", &["web", zone, state]);
        rig.until("all are free", |_| {
            (members("a", "Free"), members("b", "Free")) == (Some(1), Some(2))
        })
        .await;
        pool::wish(rig).await;
        rig.until("one is in use", |_| {
            (members("b", "Free"), members("b", "InUse")) == (Some(1), Some(1))
        })
        .await;
        rig.unwish("slots").await;
        let pools: Api<EniPool> = Api::all(rig.client.clone());
        pools.delete("web", &DeleteParams::default()).await.unwrap();
        rig.until("nothing is told of what is gone", |_| {
            gauge(address, "pool_members", &["web"]).is_none()
                && gauge(address, "interfaces", &["Attached"]).is_some()
        })
        .await;
        controller.stop().await;
    });
}

/// Creates an orphan; where an index is given, it is attached there.
fn orphan(rig: &Running, cluster: &str, index: Option<u32>) -> String {
    let tags = [
        (mark::TAG_CLUSTER_UID, cluster),
        (mark::TAG_ROLE, "attachment"),
        (mark::TAG_ATTACHMENT, "a-record-of-old"),
        (mark::TAG_CREATED_AT, "2026-01-01T00:00:00Z"),
    ];
    let id = orphans::create(rig, &tags);
    if let Some(index) = index {
        let attach = ec2_sim::Request::new("AttachNetworkInterface")
            .with("NetworkInterfaceId", &id)
            .with("InstanceId", super::world::instance_of("node1"))
            .with("DeviceIndex", index);
        let mut world = rig.door.world();
        world.call(&attach, jiff::Timestamp::now()).unwrap();
    }
    id
}

#[test]
fn a_dry_run_tells_what_would_become_of_each_orphan_and_touches_none() {
    Rig::new(1).run(async |rig| {
        let cluster = rig.cluster_uid().await;
        let all = [None, None, Some(1)].map(|index| orphan(rig, &cluster, index));
        let address = free_address();
        let mut config = config();
        config.metrics_address = Some(address);
        config.orphans = Orphans::Report;
        let controller = rig.controller_at(config);
        let would = |deed| gauge(address, "orphans_dry_run", &[deed]);
        rig.until("it tells what would be done", |_| {
            (would("Delete"), would("LeaveAttached")) == (Some(2), Some(1))
        })
        .await;
        let reads = rig.calls("DescribeNetworkInterfaces") + 3;
        rig.until("EC2 was read three times more", |_| {
            rig.calls("DescribeNetworkInterfaces") >= reads
        })
        .await;
        assert_eq!(rig.calls("DeleteNetworkInterface"), 0);
        assert_eq!(rig.calls("DetachNetworkInterface"), 0);
        controller.stop().await;
        let world = rig.door.world();
        for id in &all {
            assert!(world.interfaces().any(|eni| eni.id.as_str() == id), "{id}");
        }
    });
}
