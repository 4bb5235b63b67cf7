//! Members of pools follow the nodes that need them, and are nobody's property. Needs root.

use std::{collections::BTreeMap, time::Duration};

use ec2_sim::Interface;
use eniway_api::{EniPool, EniPoolStatus, mark};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    SUBNET_A, SUBNET_B,
    process::patient,
    rig::{Rig, Running},
    world::instance_of,
};

/// The tag by which binxio's manager knows the members of a pool.
const TAG: &str = "network-interface-manager-pool";

/// A user of binxio's manager made it, with a fixed address.
pub(super) fn member(rig: &Running, subnet: &str, address: &str) -> String {
    let request = ec2_sim::Request::new("CreateNetworkInterface")
        .with("SubnetId", subnet)
        .with("PrivateIpAddress", address)
        .with("Description", "slot of the web tier")
        .with("TagSpecification.1.ResourceType", "network-interface")
        .with("TagSpecification.1.Tag.1.Key", TAG)
        .with("TagSpecification.1.Tag.1.Value", "web");
    let mut world = rig.door.world();
    let created = world.call(&request, Timestamp::now()).unwrap();
    created.first("networkInterfaceId").unwrap().to_owned()
}

async fn pool(rig: &Running, spec: &Value) {
    let api: Api<EniPool> = Api::all(rig.client.clone());
    let object = json!({"apiVersion": "networking.k8s.aws/v1alpha1", "kind": "ENIPool",
        "metadata": {"name": "web"}, "spec": spec});
    let (user, object) = (PatchParams::apply("user").force(), Patch::Apply(&object));
    api.patch("web", &user, &object).await.unwrap();
}

pub(super) async fn select(rig: &Running) {
    pool(rig, &json!({"selector": {"tags": {TAG: "web"}}})).await;
}

async fn drop_pool(rig: &Running) {
    let api: Api<EniPool> = Api::all(rig.client.clone());
    api.delete("web", &DeleteParams::default()).await.unwrap();
}

/// Two members that eniway makes, one in each zone.
fn made(policy: &str) -> Value {
    json!({
        "members": [
            {"subnetID": SUBNET_A, "address": "10.0.8.77"},
            {"subnetID": SUBNET_B, "address": "10.0.12.77"},
        ],
        "securityGroupNames": ["multus"],
        "deletionPolicy": policy,
    })
}

pub(super) async fn wish(rig: &Running) {
    let spec = json!({"nodeSelector": {"ng": "multi-eni"}, "poolRef": {"name": "web"}});
    rig.wish("slots", &spec).await;
}

/// Waits until the pool's status is as `holds` says; `None`: the pool is gone.
async fn until_pool(rig: &Running, what: &str, holds: impl Fn(Option<&EniPoolStatus>) -> bool) {
    let api: Api<EniPool> = Api::all(rig.client.clone());
    for _ in 0..600 {
        let found = api.get_opt("web").await.unwrap();
        let status = found.map(|pool| pool.status.unwrap_or_default());
        if holds(status.as_ref()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}: {:?}", api.get_opt("web").await);
}

fn counts(status: Option<&EniPoolStatus>) -> Option<(u32, u32, u32)> {
    status.map(|status| (status.members, status.free, status.in_use))
}

fn eni(rig: &Running, id: &str) -> Interface {
    let world = rig.door.world();
    let mut all = world.interfaces();
    all.find(|eni| eni.id.as_str() == id).unwrap().clone()
}

/// The node that has the member, as `node1`.
fn holder(rig: &Running, id: &str) -> Option<String> {
    let attachment = eni(rig, id).attachment?;
    let names = (1..10).map(|number| format!("node{number}"));
    let mut names = names.filter(|name| instance_of(name) == attachment.instance.as_str());
    names.next()
}

/// Waits until a node has the member for good, as EC2 and its record say.
async fn until_held(rig: &Running, id: &str, node: &str) {
    rig.until(&format!("{node} has {id}"), |state| {
        let mut records = state.records.values();
        let attached = records.any(|record| {
            let status = record.status.as_ref();
            let ec2 = status.and_then(|status| status.ec2.as_ref());
            record.spec.node_name == node
                && record.metadata.deletion_timestamp.is_none()
                && ec2.is_some_and(|ec2| ec2.state == eniway_api::Ec2State::Attached)
        });
        attached && holder(rig, id).as_deref() == Some(node)
    })
    .await;
}

#[test]
fn what_exists_is_lent_to_a_node_and_given_back_as_it_was() {
    Rig::new(1).run(async |rig| {
        let members = [
            member(rig, SUBNET_B, "10.0.12.10"),
            member(rig, SUBNET_B, "10.0.12.11"),
        ];
        let other_zone = member(rig, SUBNET_A, "10.0.8.10");
        let before = eni(rig, &members[0]);
        let controller = rig.controller();
        select(rig).await;
        wish(rig).await;
        until_held(rig, &members[0], "node1").await;
        let held = eni(rig, &members[0]);
        assert!(!held.attachment.unwrap().delete_on_termination);
        assert_eq!(held.tags[mark::TAG_ROLE], "pool");
        assert_eq!(held.tags[mark::TAG_CLUSTER_UID], rig.cluster_uid().await);
        assert_eq!(held.description, before.description);
        assert_eq!(held.groups, before.groups);
        let state = rig.state().await;
        let record = state.records.values().next().unwrap();
        let place = record.spec.pool.clone().unwrap();
        assert_eq!(record.uid().unwrap(), held.tags[mark::TAG_ATTACHMENT]);
        assert_eq!(place.address.as_deref(), Some("10.0.12.10"));
        until_pool(rig, "it counts its members", |status| {
            let zones = status.map(|status| &status.zones);
            let zones = zones.into_iter().flatten();
            let zones: Vec<_> = zones.map(|z| (z.zone.as_str(), z.total, z.free)).collect();
            counts(status) == Some((3, 2, 1)) && zones == [("a", 1, 1), ("b", 2, 1)]
        })
        .await;

        rig.unwish("slots").await;
        rig.until("nothing is held", |state| {
            state.records.is_empty() && state.node_enis.is_empty()
        })
        .await;
        let mut after = eni(rig, &members[0]);
        assert_eq!(after.status(), "available");
        // For good: the VPC CNI of no cluster takes a member for its own.
        after.tags.remove(mark::TAG_NO_MANAGE);
        assert_eq!(after.tags, before.tags);
        for id in [&members[1], &other_zone] {
            assert_eq!(eni(rig, id).tags.len(), 1, "{id} was touched");
        }
        until_pool(rig, "all are free", |status| {
            counts(status) == Some((3, 3, 0))
        })
        .await;
        drop_pool(rig).await;
        until_pool(rig, "the pool is gone", |status| status.is_none()).await;
        assert_eq!(rig.calls("CreateNetworkInterface"), 3, "the test's own");
        assert_eq!(rig.calls("DeleteNetworkInterface"), 0);
        controller.stop().await;
    });
}

#[test]
fn the_address_of_a_replaced_instance_moves_before_the_next_whole_read() {
    Rig::new(3).run(async |rig| {
        let only = member(rig, SUBNET_B, "10.0.12.10");
        rig.unlabel("node2").await;
        rig.unlabel("node3").await;
        let controller = rig.controller_at(patient());
        select(rig).await;
        wish(rig).await;
        until_held(rig, &only, "node1").await;
        rig.label("node3").await;
        rig.until("the pool is exhausted", |state| {
            state.reason("slots") == "PoolExhausted"
        })
        .await;
        let conditions = rig.state().await.status("slots").conditions;
        assert!(
            conditions[0].message.contains("1 members in zone b"),
            "{}",
            conditions[0].message
        );
        rig.terminate("node1").await;
        until_held(rig, &only, "node3").await;
        let address = eni(rig, &only).addresses[0];
        assert_eq!(address.to_string(), "10.0.12.10");
        rig.until("all is well", |state| {
            state.records.len() == 1 && state.status("slots").attached == 1
        })
        .await;
        controller.stop().await;
    });
}

#[test]
fn a_stopped_instance_keeps_its_address_until_another_needs_it() {
    Rig::new(3).run(async |rig| {
        let only = member(rig, SUBNET_B, "10.0.12.10");
        rig.unlabel("node2").await;
        rig.unlabel("node3").await;
        let controller = rig.controller();
        select(rig).await;
        wish(rig).await;
        until_held(rig, &only, "node1").await;
        rig.call("StopInstances", "InstanceId.1", instance_of("node1"));
        let reads = rig.calls("DescribeInstances");
        rig.until("that was seen", |_| {
            rig.calls("DescribeInstances") >= reads + 3
        })
        .await;
        assert_eq!(holder(rig, &only).as_deref(), Some("node1"));
        assert_eq!(rig.calls("DetachNetworkInterface"), 0);

        rig.label("node3").await;
        until_held(rig, &only, "node3").await;
        rig.call("StartInstances", "InstanceId.1", instance_of("node1"));
        rig.until("node1 waits for its turn", |state| {
            state.reason("slots") == "PoolExhausted" && state.records.len() == 1
        })
        .await;
        assert_eq!(rig.calls("DetachNetworkInterface"), 1, "it moved once");
        controller.stop().await;
    });
}

#[test]
fn a_member_is_kept_through_a_restart_and_a_new_one_serves_who_waits() {
    Rig::new(3).run(async |rig| {
        let first = member(rig, SUBNET_B, "10.0.12.20");
        rig.unlabel("node2").await;
        rig.unlabel("node3").await;
        let controller = rig.controller();
        select(rig).await;
        wish(rig).await;
        until_held(rig, &first, "node1").await;
        controller.stop().await;
        // One that comes first in every order is no reason to change.
        let second = member(rig, SUBNET_B, "10.0.12.10");
        let controller = rig.controller();
        rig.label("node3").await;
        until_held(rig, &second, "node3").await;
        assert_eq!(holder(rig, &first).as_deref(), Some("node1"));
        assert_eq!(rig.calls("AttachNetworkInterface"), 2);
        assert_eq!(rig.calls("DetachNetworkInterface"), 0);
        drop(controller);
    });
}

#[test]
fn what_another_has_is_never_taken() {
    Rig::new(3).run(async |rig| {
        let attached = member(rig, SUBNET_B, "10.0.12.10");
        let marked = member(rig, SUBNET_B, "10.0.12.11");
        let retained = member(rig, SUBNET_B, "10.0.12.12");
        let elsewhere = member(rig, SUBNET_A, "10.0.8.10");
        let other_vpc = member(rig, "subnet-0000000f", "10.1.0.10");
        rig.unlabel("node2").await;
        rig.unlabel("node3").await;
        let attach = ec2_sim::Request::new("AttachNetworkInterface")
            .with("NetworkInterfaceId", &attached)
            .with("InstanceId", instance_of("node3"))
            .with("DeviceIndex", 1);
        rig.door.world().call(&attach, Timestamp::now()).unwrap();
        rig.tag(&marked, mark::TAG_CLUSTER_UID, "another-cluster");
        rig.tag(&retained, mark::TAG_ROLE, "retained");
        let all = [&attached, &marked, &retained, &elsewhere, &other_vpc];
        let before: Vec<_> = all.iter().map(|id| eni(rig, id).tags).collect();
        let changed = || rig.calls("CreateTags") + rig.calls("AttachNetworkInterface");
        let calls = changed();
        let controller = rig.controller();
        select(rig).await;
        wish(rig).await;
        rig.until("there is none for node1", |state| {
            state.reason("slots") == "PoolExhausted"
        })
        .await;
        let reads = rig.calls("DescribeInstances");
        rig.until("EC2 was read again and again", |_| {
            rig.calls("DescribeInstances") >= reads + 3
        })
        .await;
        let after: Vec<_> = all.iter().map(|id| eni(rig, id).tags).collect();
        assert_eq!(after, before);
        assert_eq!(changed(), calls);
        until_pool(rig, "it says so", |status| {
            counts(status) == Some((3, 1, 2))
        })
        .await;
        // The other cluster gives it back.
        rig.untag(&marked, mark::TAG_CLUSTER_UID);
        until_held(rig, &marked, "node1").await;
        controller.stop().await;
    });
}

#[test]
fn a_member_that_the_old_manager_attached_stays_where_it_is() {
    Rig::new(1).run(async |rig| {
        member(rig, SUBNET_B, "10.0.12.10");
        let there = member(rig, SUBNET_B, "10.0.12.11");
        let attach = ec2_sim::Request::new("AttachNetworkInterface")
            .with("NetworkInterfaceId", &there)
            .with("InstanceId", instance_of("node1"))
            .with("DeviceIndex", 1);
        rig.door.world().call(&attach, Timestamp::now()).unwrap();
        let controller = rig.controller();
        select(rig).await;
        wish(rig).await;
        until_held(rig, &there, "node1").await;
        assert_eq!(rig.calls("AttachNetworkInterface"), 1, "the test's own");
        controller.stop().await;
    });
}

#[test]
fn members_are_made_with_their_addresses_and_outlive_pool_and_nodes() {
    Rig::new(2).run(async |rig| {
        let controller = rig.controller();
        pool(rig, &made("Retain")).await;
        until_pool(rig, "both are made", |status| {
            counts(status) == Some((2, 2, 0))
        })
        .await;
        wish(rig).await;
        rig.until("both nodes have one", |state| state.attached() == 2)
            .await;
        let addresses = || -> BTreeMap<String, String> {
            let ours = rig.ours();
            let pairs = ours.iter().map(|eni| {
                let place = eni.attachment.as_ref();
                let instance = place.map(|place| place.instance.to_string());
                (eni.addresses[0].to_string(), instance.unwrap_or_default())
            });
            pairs.collect()
        };
        let expected = [("10.0.12.77", "node1"), ("10.0.8.77", "node2")];
        let expected = expected.map(|(ip, node)| (ip.to_owned(), instance_of(node)));
        assert_eq!(addresses(), BTreeMap::from(expected));
        let group = rig.ours()[0].groups[0].to_string();
        assert_eq!(group, "sg-00000001");

        // A pool goes after those who use it.
        drop_pool(rig).await;
        until_pool(rig, "it says who is in the way", |status| {
            let conditions = status.map(|status| &status.conditions);
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|one| one.message.starts_with("2 members are in use"))
        })
        .await;
        assert_eq!(rig.state().await.attached(), 2);
        rig.unwish("slots").await;
        until_pool(rig, "it is gone", |status| status.is_none()).await;
        assert_eq!(rig.calls("DeleteNetworkInterface"), 0);
        // One of the same name takes them up again.
        pool(rig, &made("Delete")).await;
        until_pool(rig, "both are there", |status| {
            counts(status) == Some((2, 2, 0))
        })
        .await;
        assert_eq!(rig.calls("CreateNetworkInterface"), 2);
        drop_pool(rig).await;
        until_pool(rig, "it is gone with its members", |status| {
            status.is_none()
        })
        .await;
        assert_eq!(rig.calls("DeleteNetworkInterface"), 2);
        controller.stop().await;
    });
}

#[test]
fn an_address_that_another_has_is_named_and_a_deleted_member_is_made_anew() {
    Rig::new(1).run(async |rig| {
        let foreign = member(rig, SUBNET_B, "10.0.12.77");
        let controller = rig.controller();
        pool(rig, &made("Delete")).await;
        until_pool(rig, "it says which address is taken", |status| {
            let conditions = status.map(|status| &status.conditions);
            let mut conditions = conditions.into_iter().flatten();
            conditions
                .any(|one| one.reason == "MemberNotCreated" && one.message.contains("10.0.12.77"))
        })
        .await;
        rig.call("DeleteNetworkInterface", "NetworkInterfaceId", &foreign);
        until_pool(rig, "it is made", |status| {
            counts(status) == Some((2, 2, 0))
        })
        .await;
        wish(rig).await;
        rig.until("node1 has it", |state| state.attached() == 1)
            .await;
        let old = rig.ours()[0].id.clone();
        rig.destroy(&old);
        rig.until_world("another has its address and its place", |enis| {
            enis.iter().any(|eni| {
                eni.id != old
                    && eni.status() == "in-use"
                    && eni.addresses[0].to_string() == "10.0.12.77"
            })
        })
        .await;
        controller.stop().await;
    });
}
