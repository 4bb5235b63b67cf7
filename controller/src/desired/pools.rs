//! Decides which member of a pool a node gets, and when it loses the one that it has.
//!
//! A record is the reservation: while it exists, no other record gets its member. A member bears the
//! marks of the cluster and of the record that hold it, so that clusters which share a pool do not
//! take each other's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eniway_api::{
    DeletionPolicy, EniId, EniPool, GroupId, NodeEniAttachment, NodeEniAttachmentSpec, NodeEniSpec,
    PoolMember, PoolPlace, PoolRef, attachment::pool_record_name, conditions::reason, mark,
};
use eniway_ec2::{AttachmentState, Eni, InstanceState, Snapshot};
use kube::ResourceExt as _;

use super::{Desired, Inputs, Problem, Unwanted, Wish, resolve, wishes::Place};

/// Pools, and who holds or awaits their members.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    pub cluster_uid: String,
    /// By name.
    pub declared: BTreeMap<String, Arc<EniPool>>,
    /// By member; one, unless something went wrong.
    pub holders: BTreeMap<EniId, Vec<Holder>>,
    /// Pools and zones in which another node, whose instance runs, waits.
    pub wanted: BTreeSet<(String, String)>,
}

/// A record that holds a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub record: String,
    pub pool: String,
    /// `None`: it is not written yet.
    pub uid: Option<String>,
}

impl Pools {
    /// The pool's members that a read showed, in the order in which they are given away.
    pub(crate) fn members<'s>(&self, pool: &EniPool, snapshot: &'s Snapshot) -> Vec<&'s Eni> {
        let all = snapshot.enis();
        let mut members: Vec<_> = all
            .filter(|eni| snapshot.subnets.contains_key(&eni.subnet))
            .filter(|eni| self.is_member(pool, eni))
            .collect();
        members.sort_by_key(|eni| (eni.addresses.first().map(ipnet::IpNet::addr), &eni.id));
        members
    }

    fn is_member(&self, pool: &EniPool, eni: &Eni) -> bool {
        match &pool.spec.selector {
            // What a NodeENI made or left is not a member, though its user gave it the same tags; nor
            // is what the VPC CNI made.
            Some(selector) => {
                let role = eni.tags.get(mark::TAG_ROLE);
                selector.matches(|key| eni.tags.get(key))
                    && !eni.tags.contains_key(mark::TAG_VPC_CNI)
                    && role.is_none_or(|role| role == mark::Role::Pool.as_str())
            }
            None => {
                let listed = member(eni).is_some_and(|one| pool.spec.members.contains(&one));
                self.is_made_for(pool, eni) && listed
            }
        }
    }

    /// Whether eniway made it for the pool, listed there or not.
    pub(crate) fn is_made_for(&self, pool: &EniPool, eni: &Eni) -> bool {
        eni.tags.get(mark::TAG_POOL) == Some(&pool.name_any())
            && eni.tags.get(mark::TAG_CLUSTER_UID) == Some(&self.cluster_uid)
    }

    /// Whether the next node may have it.
    pub(crate) fn is_free(&self, eni: &Eni) -> bool {
        eni.attachment.is_none()
            && !self.holders.contains_key(&eni.id)
            && !self.is_marked(eni, None)
    }

    /// Whether it was free when this record, not written yet, was promised it, and nobody took it since.
    fn is_promised(&self, eni: &Eni, record: &str) -> bool {
        self.is_promised_alone(eni, record)
            && eni.attachment.is_none()
            && !self.is_marked(eni, None)
    }

    /// Whether the record's promise is all that holds it.
    fn is_promised_alone(&self, eni: &Eni, record: &str) -> bool {
        let holders = self.holders.get(&eni.id).map(Vec::as_slice);
        matches!(holders, Some([one]) if one.record == record && one.uid.is_none())
    }

    /// Whether it bears the mark of another cluster, or of a record that exists. A mark of ours whose
    /// record is gone means nothing.
    fn is_marked(&self, eni: &Eni, but: Option<&str>) -> bool {
        let cluster = eni.tags.get(mark::TAG_CLUSTER_UID);
        cluster.is_some_and(|uid| *uid != self.cluster_uid)
            || eni
                .record()
                .is_some_and(|uid| Some(uid) != but && self.lives(uid))
            || (cluster.is_none() && eni.record().is_some_and(|uid| Some(uid) != but))
    }

    /// Whether a record with this UID holds a member.
    pub(crate) fn lives(&self, uid: &str) -> bool {
        let mut holders = self.holders.values().flatten();
        holders.any(|holder| holder.uid.as_deref() == Some(uid))
    }
}

/// Which member an interface could be.
pub(crate) fn member(eni: &Eni) -> Option<PoolMember> {
    let address = match eni.addresses.first()?.addr() {
        std::net::IpAddr::V4(address) => eniway_api::Address(address),
        std::net::IpAddr::V6(_) => return None,
    };
    let subnet_id = eni.subnet.clone();
    Some(PoolMember { subnet_id, address })
}

/// The security groups of what eniway makes for the pool; what keeps them from being known.
pub(crate) fn groups(pool: &EniPool, catalog: &resolve::Catalog<'_>) -> resolve::Found<GroupId> {
    catalog.groups(&NodeEniSpec {
        security_group_ids: pool.spec.security_group_ids.clone(),
        security_group_names: pool.spec.security_group_names.clone(),
        ..NodeEniSpec::default()
    })
}

/// Why the record's member is not its any more.
pub(super) fn lost(inputs: Inputs<'_>, record: &NodeEniAttachment) -> Option<Unwanted> {
    let place = record.spec.pool.as_ref()?;
    let Some(eni) = inputs.snapshot.eni(&place.eni_id) else {
        let gone = inputs.snapshot.is_gone(&place.eni_id);
        return gone.then_some(Unwanted::MemberGone);
    };
    let uid = record.metadata.uid.as_deref();
    let taken = match &eni.attachment {
        // Who has it keeps it, whatever the marks say.
        Some(attachment) => attachment.instance != record.spec.instance_id,
        None => {
            let holders = inputs.pools.holders.get(&eni.id).into_iter().flatten();
            let mut before = holders.take_while(|holder| holder.record != record.name_any());
            let unmarked = eni.record() != uid;
            inputs.pools.is_marked(eni, uid) || (unmarked && before.next().is_some())
        }
    };
    taken.then_some(Unwanted::MemberTaken)
}

/// Whether the record's instance does not run, and one that does waits for its member. Until then a
/// stopped instance keeps its address: most that stop are started again.
pub(super) fn needed_elsewhere(inputs: Inputs<'_>, record: &NodeEniAttachment) -> Option<Unwanted> {
    let place = record.spec.pool.as_ref()?;
    let instance = inputs.snapshot.instance(&record.spec.instance_id)?;
    let rests = matches!(
        instance.state,
        InstanceState::Stopping | InstanceState::Stopped
    );
    let wanted = (place.name.clone(), instance.zone.clone());
    (rests && inputs.pools.wanted.contains(&wanted)).then_some(Unwanted::NeededElsewhere)
}

impl Place<'_> {
    /// Adds the wish for a member of the pool, or what keeps the node from having one.
    pub(super) fn member_wish(&self, desired: &mut Desired, inputs: Inputs<'_>, pool: &PoolRef) {
        let record = pool_record_name(&self.reference, &self.instance.id, pool);
        let mut records = inputs.records.iter();
        if let Some(known) = records.find(|known| known.name_any() == record) {
            let spec = if known.metadata.deletion_timestamp.is_some() {
                // It goes first; what comes then is chosen then.
                known.spec.clone()
            } else if lost(inputs, known).is_none() {
                self.kept(inputs, known)
            } else {
                return;
            };
            return desired.wishes.push(Wish { record, spec });
        }
        match self.choose(inputs, pool, &record) {
            Ok(eni) => {
                let spec = self.taken(inputs, pool, eni);
                desired.wishes.push(Wish { record, spec });
            }
            Err((reason, message)) => {
                if reason == reason::POOL_EXHAUSTED {
                    let wanted = (pool.name.clone(), self.instance.zone.clone());
                    desired.waits_for.insert(wanted);
                }
                desired.problems.push(Problem {
                    node_eni: self.reference.uid.clone(),
                    reason,
                    message,
                });
            }
        }
    }

    /// The member that the instance has already, else the one that the record was promised, else the first free one
    /// of its zone. A record whose write was not answered may be there, with the member that it was promised.
    fn choose<'s>(
        &self,
        inputs: Inputs<'s>,
        wanted: &PoolRef,
        record: &str,
    ) -> Result<&'s Eni, (&'static str, String)> {
        let PoolRef { name } = wanted;
        let pool = inputs.pools.declared.get(name);
        let pool = pool.filter(|pool| pool.metadata.deletion_timestamp.is_none());
        let Some(pool) = pool else {
            let message = format!("there is no ENIPool {name}, or it is being deleted");
            return Err((reason::POOL_NOT_FOUND, message));
        };
        // One that stopped keeps what it has, and takes nothing that another could use.
        if self.instance.state != InstanceState::Running {
            let message = format!(
                "instance {} is {:?}; it gets a member of pool {name} when it runs",
                self.instance.id, self.instance.state
            );
            return Err((reason::INSTANCE_PENDING, message));
        }
        let here = inputs.pools.members(pool, inputs.snapshot);
        let here: Vec<_> = here
            .into_iter()
            .filter(|eni| eni.zone == self.instance.zone)
            .collect();
        let has = here.iter().find(|eni| self.has(inputs.pools, eni, record));
        let promised = || {
            here.iter()
                .find(|eni| inputs.pools.is_promised(eni, record))
        };
        let free = || here.iter().find(|eni| inputs.pools.is_free(eni));
        has.or_else(promised).or_else(free).copied().ok_or_else(|| {
            let message = format!(
                "pool {name} has {} members in zone {}, and none is free for node {}",
                here.len(),
                self.instance.zone,
                self.node.name
            );
            (reason::POOL_EXHAUSTED, message)
        })
    }

    /// Whether somebody attached the member to this very instance before eniway came. That it was promised to the
    /// record meanwhile, and the record not written yet, changes nothing.
    fn has(&self, pools: &Pools, eni: &Eni, record: &str) -> bool {
        let free = !pools.holders.contains_key(&eni.id) || pools.is_promised_alone(eni, record);
        free && !pools.is_marked(eni, None)
            && eni.attachment.as_ref().is_some_and(|attachment| {
                let there = matches!(
                    attachment.state,
                    AttachmentState::Attaching | AttachmentState::Attached
                );
                let primary = (attachment.network_card_index, attachment.device_index) == (0, 0);
                there && !primary && attachment.instance == self.instance.id
            })
    }

    fn taken(&self, inputs: Inputs<'_>, pool: &PoolRef, eni: &Eni) -> NodeEniAttachmentSpec {
        let address = eni.addresses.first();
        let spec = self.spec(&eni.subnet, 0, &self.groups(inputs, pool, &[]));
        NodeEniAttachmentSpec {
            pool: Some(PoolPlace {
                name: pool.name.clone(),
                eni_id: eni.id.clone(),
                address: address.map(|address| address.addr().to_string()),
            }),
            ..self.as_member(spec, eni.source_dest_check)
        }
    }

    fn kept(&self, inputs: Inputs<'_>, known: &NodeEniAttachment) -> NodeEniAttachmentSpec {
        let old = &known.spec;
        let pool = old.pool.as_ref().map(|place| PoolRef {
            name: place.name.clone(),
        });
        let groups = self.groups(inputs, &pool.unwrap_or_default(), &old.security_group_ids);
        let spec = self.spec(&old.subnet_id, 0, &groups);
        NodeEniAttachmentSpec {
            pool: old.pool.clone(),
            ..self.as_member(spec, old.source_dest_check)
        }
    }

    /// A member outlives its node, and stays as its owner made it where the NodeENI says nothing.
    fn as_member(&self, spec: NodeEniAttachmentSpec, check: bool) -> NodeEniAttachmentSpec {
        NodeEniAttachmentSpec {
            deletion_policy: DeletionPolicy::Retain,
            delete_on_termination: false,
            source_dest_check: self.node_eni.spec.source_dest_check.unwrap_or(check),
            description: String::new(),
            ..spec
        }
    }

    /// Those that the pool names for what eniway makes; empty: the member keeps its own.
    fn groups(&self, inputs: Inputs<'_>, pool: &PoolRef, known: &[GroupId]) -> Vec<GroupId> {
        let catalog = resolve::Catalog {
            vpc: inputs.vpc,
            snapshot: inputs.snapshot,
        };
        let pool = inputs.pools.declared.get(&pool.name);
        match pool.filter(|pool| pool.spec.selector.is_none()) {
            None => known.to_vec(),
            Some(pool) => match groups(pool, &catalog).found {
                found if found.is_empty() => known.to_vec(),
                found => found,
            },
        }
    }
}

#[cfg(test)]
mod tests;
