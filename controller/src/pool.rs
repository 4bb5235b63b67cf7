//! Decides what a pool needs: members that eniway is to make, those that it is to delete, and what its
//! status says.
//!
//! Pure: time is an argument. The address of a member keeps it from being made twice: EC2 gives it to
//! one interface only. So a creation whose answer was lost is simply tried again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use eniway_api::{
    Asked, EniId, EniPool, EniPoolStatus, PoolMember, PoolZone, VpcId,
    conditions::{READY, reason},
    mark,
};
use eniway_ec2::{Eni, NewEni, Snapshot};
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use crate::{
    desired::{Catalog, Pools, groups, member},
    memory::Hold,
    plan::{Cluster, Now},
    status::condition,
};

/// What the decision looks at.
#[derive(Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) pool: &'a EniPool,
    pub(crate) pools: &'a Pools,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) vpc: &'a VpcId,
    pub(crate) cluster: &'a Cluster,
    /// Members whose creation EC2 refused.
    pub(crate) holds: &'a BTreeMap<PoolMember, Hold>,
    /// When a member may last have been made, here or by another process.
    pub(crate) last_creation: Instant,
    /// How long EC2's reads may lag behind its writes.
    pub(crate) grace: Duration,
    pub(crate) now: Now,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Have the finalizer on the pool, or off it.
    Finalizer(bool),
    Create(PoolMember, Box<NewEni>),
    Delete(EniId),
}

/// What to do and what to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upkeep {
    pub(crate) steps: Vec<Step>,
    pub(crate) status: EniPoolStatus,
    /// Free members with a mark whose record is gone.
    pub(crate) stale: BTreeSet<EniId>,
    pub(crate) wake: Option<Instant>,
}

type Note = (bool, &'static str, String);

/// What the pool needs.
#[must_use]
pub(crate) fn upkeep(situation: Situation<'_>) -> Upkeep {
    let Situation { pool, pools, .. } = situation;
    let members = pools.members(pool, situation.snapshot);
    let mut upkeep = Upkeep {
        status: counts(situation, &members),
        ..Upkeep::default()
    };
    let free = members.iter().filter(|eni| pools.is_free(eni));
    let stale = free.filter(|eni| {
        let ours = eni.tags.get(mark::TAG_CLUSTER_UID) == Some(&situation.cluster.uid);
        let made = eni.tags.contains_key(mark::TAG_POOL);
        ours && (eni.record().is_some() || !made)
    });
    upkeep.stale = stale.map(|eni| eni.id.clone()).collect();
    let (ready, why, message) = if pool.metadata.deletion_timestamp.is_some() {
        end(situation, &mut upkeep)
    } else {
        live(situation, &members, &mut upkeep)
    };
    let old = pool.status.as_ref();
    let old = old.map(|status| status.conditions.as_slice());
    upkeep.status.conditions = vec![condition(
        old.unwrap_or_default(),
        READY,
        ready,
        why,
        message,
        pool.metadata.generation,
        situation.now.wall,
    )];
    upkeep
}

fn counts(situation: Situation<'_>, members: &[&Eni]) -> EniPoolStatus {
    let mut zones: BTreeMap<&str, PoolZone> = BTreeMap::new();
    let mut status = EniPoolStatus {
        observed_generation: situation.pool.metadata.generation,
        ..EniPoolStatus::default()
    };
    for eni in members {
        let zone = zones.entry(&eni.zone).or_default();
        let free = u32::from(situation.pools.is_free(eni));
        zone.zone.clone_from(&eni.zone);
        zone.total += 1;
        zone.free += free;
        status.members += 1;
        status.free += free;
        status.in_use += 1 - free;
    }
    status.zones = zones.into_values().collect();
    status
}

fn live(situation: Situation<'_>, members: &[&Eni], upkeep: &mut Upkeep) -> Note {
    let pool = situation.pool;
    let has = pool
        .finalizers()
        .iter()
        .any(|one| one == mark::FINALIZER_POOL);
    if !has {
        upkeep.steps.push(Step::Finalizer(true));
    }
    let status = &upkeep.status;
    let says = format!("{} members, {} are free", status.members, status.free);
    if let Some(selector) = &pool.spec.selector {
        return if members.is_empty() {
            let message = format!("no interface of the VPC bears the tags {selector}");
            (false, reason::POOL_EMPTY, message)
        } else {
            (true, reason::READY, says)
        };
    }
    if pool.spec.deletes() {
        delete(situation, upkeep, |eni| {
            member(eni).is_none_or(|one| !pool.spec.members.contains(&one))
        });
    }
    let there: BTreeSet<_> = members.iter().filter_map(|eni| member(eni)).collect();
    let wanted = pool.spec.members.iter();
    let missing: Vec<_> = wanted.filter(|one| !there.contains(one)).collect();
    if missing.is_empty() {
        return (true, reason::READY, says);
    }
    let catalog = Catalog {
        vpc: situation.vpc,
        snapshot: situation.snapshot,
    };
    let groups = groups(pool, &catalog);
    if let Some((why, message, _)) = groups.problems.into_iter().next() {
        return (false, why, message);
    }
    let mut trouble = None;
    for one in missing {
        if !situation.snapshot.subnets.contains_key(&one.subnet_id) {
            let message = format!("{} has no subnet {}", situation.vpc, one.subnet_id);
            trouble.get_or_insert((false, reason::SUBNET_NOT_FOUND, message));
            continue;
        }
        let hold = situation.holds.get(one);
        if let Some(hold) = hold.filter(|hold| hold.until > situation.now.monotonic) {
            let wake = upkeep.wake.map_or(hold.until, |wake| wake.min(hold.until));
            upkeep.wake = Some(wake);
            trouble.get_or_insert((false, hold.reason, hold.message.clone()));
            continue;
        }
        let mut new = new_eni(situation, one);
        new.groups.clone_from(&groups.found);
        upkeep.steps.push(Step::Create(one.clone(), Box::new(new)));
    }
    let progress = format!("{says}; {} are to be made", upkeep.steps.len());
    trouble.unwrap_or((false, reason::PROGRESSING, progress))
}

/// The pool is to go: nothing is taken from a node for that, and what is free stays unless the pool
/// says otherwise.
fn end(situation: Situation<'_>, upkeep: &mut Upkeep) -> Note {
    let pool = situation.pool;
    let name = pool.name_any();
    let holders = situation.pools.holders.values().flatten();
    let held: Vec<_> = holders.filter(|one| one.pool == name).collect();
    if let Some(first) = held.first() {
        let message = format!(
            "{} members are in use, as by {}: their NodeENIs release them first",
            held.len(),
            first.record
        );
        return (false, reason::RELEASING, message);
    }
    if pool.spec.deletes() {
        let left = delete(situation, upkeep, |_| true);
        if left > 0 {
            return (false, reason::RELEASING, format!("{left} members are left"));
        }
        let shown = situation.last_creation + situation.grace;
        if situation.snapshot.whole.is_none_or(|whole| whole < shown) {
            upkeep.wake = Some(shown.max(situation.now.monotonic + Duration::from_secs(1)));
            let message = "waiting until EC2 shows what was made last".to_owned();
            return (false, reason::RELEASING, message);
        }
    }
    upkeep.steps.push(Step::Finalizer(false));
    (false, reason::RELEASING, "nothing is left".to_owned())
}

/// Deletes those of `which` that eniway made for the pool and that are free; how many there are.
fn delete(situation: Situation<'_>, upkeep: &mut Upkeep, which: impl Fn(&Eni) -> bool) -> usize {
    let Situation { pool, pools, .. } = situation;
    let all = situation.snapshot.enis();
    let made = all.filter(|eni| pools.is_made_for(pool, eni) && which(eni));
    let mut count = 0;
    for eni in made {
        count += 1;
        if pools.is_free(eni) {
            upkeep.steps.push(Step::Delete(eni.id.clone()));
        }
    }
    count
}

fn new_eni(situation: Situation<'_>, member: &PoolMember) -> NewEni {
    let name = situation.pool.name_any();
    let now = situation.now.wall;
    let address = member.address.0;
    let tags = [
        (mark::peer::TAG_NAME, format!("enipool-{name}-{address}")),
        (mark::TAG_NO_MANAGE, "true".to_owned()),
        (mark::TAG_CLUSTER, situation.cluster.name.clone()),
        (mark::TAG_CLUSTER_UID, situation.cluster.uid.clone()),
        (mark::TAG_POOL, name.clone()),
        (mark::TAG_ROLE, mark::Role::Pool.as_str().to_owned()),
        (mark::TAG_CREATED_AT, now.to_string()),
    ];
    let cut = |value: String| value.chars().take(256).collect();
    let tags = tags.map(|(key, value)| (key.to_owned(), cut(value)));
    let mut hash = Sha256::new();
    let uid = situation.pool.uid().unwrap_or_default();
    // The moment is the attempt: what was deleted meanwhile has burnt its token.
    for part in [
        &uid,
        member.subnet_id.as_str(),
        &address.to_string(),
        &now.to_string(),
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let token = hash.finalize();
    NewEni {
        subnet: member.subnet_id.clone(),
        primary: Some(address),
        asked: Asked::default(),
        groups: Vec::new(),
        description: format!("member of ENIPool {name}"),
        tags: BTreeMap::from(tags),
        client_token: token.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finalizer(true) => f.write_str("put the finalizer on the pool"),
            Self::Finalizer(false) => f.write_str("let the pool go"),
            Self::Create(member, _) => {
                let PoolMember { subnet_id, address } = member;
                write!(f, "create {} in {subnet_id}", address.0)
            }
            Self::Delete(eni) => write!(f, "delete {eni}"),
        }
    }
}

#[cfg(test)]
mod tests;
