use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use eniway_api::{
    Address, DeletionPolicy, EniPool, EniPoolSpec, PoolMember, conditions::reason, mark,
};
use eniway_ec2::{Eni, Group, Snapshot, Subnet, Tags, Verdict};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Situation, Upkeep, upkeep};
use crate::{
    desired::{Holder, Pools},
    memory::Hold,
    plan::{Cluster, Now},
};

fn member(last: u8) -> PoolMember {
    PoolMember {
        subnet_id: "subnet-1".into(),
        address: Address([10, 0, 0, last].into()),
    }
}

/// A pool that lists these addresses.
fn pool(listed: &[u8], change: impl FnOnce(&mut EniPool)) -> EniPool {
    let mut pool = EniPool::new(
        "p",
        EniPoolSpec {
            members: listed.iter().map(|last| member(*last)).collect(),
            security_group_names: vec!["multus".to_owned()],
            ..EniPoolSpec::default()
        },
    );
    pool.metadata.finalizers = Some(vec![mark::FINALIZER_POOL.to_owned()]);
    change(&mut pool);
    pool
}

fn deleting(pool: &mut EniPool) {
    pool.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
}

fn delete(pool: &mut EniPool) {
    pool.spec.deletion_policy = Some(DeletionPolicy::Delete);
}

fn eni(last: u8) -> Eni {
    let tags = [(mark::TAG_POOL, "p"), (mark::TAG_CLUSTER_UID, "us")];
    Eni {
        id: format!("eni-{last}").as_str().into(),
        subnet: "subnet-1".into(),
        zone: "a".to_owned(),
        mac: "06:00:00:00:00:01".parse().expect("a MAC"),
        attachment: None,
        groups: Vec::new(),
        source_dest_check: true,
        description: String::new(),
        addresses: vec![format!("10.0.0.{last}/32").parse().expect("an address")],
        prefixes: Vec::new(),
        association: None,
        tags: Tags::from_iter(tags),
    }
}

/// What the pool needs when these are there, those of `held` have a record, and EC2 refused `refused`.
fn think(pool: &EniPool, there: &[u8], held: &[u8], refused: &[u8]) -> Upkeep {
    let start = Instant::now();
    let now = start + Duration::from_secs(100);
    let mut snapshot = Snapshot::new(Duration::ZERO);
    let subnet = Subnet {
        id: "subnet-1".into(),
        vpc: "vpc-1".into(),
        zone: "a".to_owned(),
        cidrs: Vec::new(),
        free_addresses: 9,
        tags: BTreeMap::new(),
    };
    snapshot.subnets.insert(subnet.id.clone(), subnet);
    snapshot.groups.push(Group {
        id: "sg-1".into(),
        name: "multus".to_owned(),
        tags: BTreeMap::new(),
    });
    snapshot.read_all_enis(there.iter().map(|last| eni(*last)).collect(), now);
    snapshot.whole = Some(now);
    let holders = held.iter().map(|last| {
        let holder = Holder {
            record: format!("r{last}"),
            pool: "p".to_owned(),
            uid: Some(format!("r{last}")),
        };
        (eni(*last).id, vec![holder])
    });
    let pools = Pools {
        cluster_uid: "us".to_owned(),
        declared: BTreeMap::from([("p".to_owned(), Arc::new(pool.clone()))]),
        holders: holders.collect(),
        ..Pools::default()
    };
    let holds = refused.iter().map(|last| {
        let hold = Hold {
            until: now + Duration::from_secs(30),
            verdict: Verdict::Replan,
            reason: reason::MEMBER_NOT_CREATED,
            message: "the address is in use".to_owned(),
            generation: 0,
        };
        (member(*last), hold)
    });
    upkeep(Situation {
        pool,
        pools: &pools,
        snapshot: &snapshot,
        vpc: &"vpc-1".into(),
        cluster: &Cluster {
            name: "here".to_owned(),
            uid: "us".to_owned(),
        },
        holds: &holds.collect(),
        last_creation: start,
        grace: Duration::from_secs(60),
        now: Now {
            monotonic: now,
            wall: Timestamp::UNIX_EPOCH,
        },
    })
}

#[track_caller]
fn check(upkeep: &Upkeep, steps: &str, why: &str) {
    let said: Vec<_> = upkeep.steps.iter().map(ToString::to_string).collect();
    let reason = &upkeep.status.conditions[0].reason;
    assert_eq!((&*said.join("; "), &**reason), (steps, why));
}

#[test]
fn what_is_missing_is_made_once_and_what_was_refused_waits() {
    let listed = pool(&[5, 6], |_| ());
    let both = "create 10.0.0.5 in subnet-1; create 10.0.0.6 in subnet-1";
    check(&think(&listed, &[], &[], &[]), both, "Progressing");
    let one = "create 10.0.0.6 in subnet-1";
    check(&think(&listed, &[5], &[], &[]), one, "Progressing");
    check(&think(&listed, &[5, 6], &[], &[]), "", "Ready");
    let refused = think(&listed, &[5], &[], &[6]);
    check(&refused, "", "MemberNotCreated");
    assert!(refused.wake.is_some());
}

#[test]
fn a_pool_counts_what_is_free() {
    let status = think(&pool(&[5, 6], |_| ()), &[5, 6, 7], &[5], &[]).status;
    assert_eq!((status.members, status.free, status.in_use), (2, 1, 1));
    assert_eq!((status.zones[0].total, status.zones[0].free), (2, 1));
}

#[test]
fn the_finalizer_comes_before_the_first_member() {
    let bare = pool(&[5], |pool| pool.metadata.finalizers = None);
    let steps = "put the finalizer on the pool; create 10.0.0.5 in subnet-1";
    check(&think(&bare, &[], &[], &[]), steps, "Progressing");
}

#[test]
fn what_left_the_list_goes_only_if_the_pool_says_so_and_nobody_has_it() {
    let retain = pool(&[5], |_| ());
    check(&think(&retain, &[5, 6], &[], &[]), "", "Ready");
    let delete = pool(&[5], delete);
    check(&think(&delete, &[5, 6], &[], &[]), "delete eni-6", "Ready");
    check(&think(&delete, &[5, 6], &[6], &[]), "", "Ready");
}

#[test]
fn a_pool_goes_after_its_records_and_its_members_as_it_says() {
    let retain = pool(&[5], deleting);
    check(&think(&retain, &[5], &[5], &[]), "", "Releasing");
    check(
        &think(&retain, &[5], &[], &[]),
        "let the pool go",
        "Releasing",
    );
    let delete = pool(&[5], |pool| {
        delete(pool);
        deleting(pool);
    });
    check(&think(&delete, &[5, 6], &[6], &[]), "", "Releasing");
    let both = "delete eni-5; delete eni-6";
    check(&think(&delete, &[5, 6], &[], &[]), both, "Releasing");
    check(
        &think(&delete, &[], &[], &[]),
        "let the pool go",
        "Releasing",
    );
}
