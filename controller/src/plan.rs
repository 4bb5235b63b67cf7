//! Decides what must be done next for one node.
//!
//! Pure: no clock, no client, no `async`. The same inputs always give the same actions in the same
//! order, and once nothing is left to do there is no action.

pub(crate) mod addresses;
mod adopt;
mod annotation;
mod elastic_ip;
mod ena_queues;
mod exposure;
mod grow;
mod member;
mod places;
mod readiness;
mod release;
mod tags;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use eniway_api::{EniId, InstanceId, NodeEniAttachment, NodeEniAttachmentSpec, conditions::reason};
use eniway_ec2::{Eni, Snapshot};
use jiff::Timestamp;
use kube::ResourceExt as _;

pub(crate) use self::member::marks_of_holder;
pub use self::{annotation::annotate, exposure::expose, readiness::announce};
use crate::{
    action::{Action, Look, Target},
    desired::Desired,
    elastic_ips::Choices,
    holders::Pod,
    memory::Memory,
    pace::Pace,
    status,
};

/// How often a replacement that waits for other nodes looks at them again.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(15);

/// What the plan looks at.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// The records that name the node.
    pub records: &'a [Arc<NodeEniAttachment>],
    pub snapshot: &'a Snapshot,
    /// By the record's UID.
    pub memories: &'a BTreeMap<String, Memory>,
    /// When instances are asked for again.
    pub paces: &'a BTreeMap<InstanceId, Pace>,
    pub agent: Agent,
    /// The node's pods that run; `None`: they were not asked for, or did not answer.
    pub pods: Option<&'a [Pod]>,
    /// Who has an address that a record, by its name, asks for.
    pub rivals: &'a Rivals,
    /// The Elastic IPs that were chosen for records.
    pub elastic_ips: &'a Choices,
    pub cluster: &'a Cluster,
    /// How long EC2's reads may lag behind its writes.
    pub grace: Duration,
    /// How long the agent of a node, while it lives, may take to release an interface.
    pub release_within: Duration,
    /// How old subnets and groups are before they are asked for again.
    pub catalog_pause: Duration,
    /// When this process began to lead; what it did not do itself, another may have done before.
    pub leading_since: Instant,
}

/// Who has an address that a record asks for: by the record's name and the address.
pub type Rivals = BTreeMap<(String, Ipv4Addr), String>;

/// Whose interfaces they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pub name: String,
    /// The UID of the namespace kube-system.
    pub uid: String,
}

/// Whether the node's agent lives, by its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// It renewed its lease within five minutes, or nobody had to know.
    Alive,
    /// It did not.
    Silent,
    /// It never had a lease.
    Never,
}

/// What to do, and when to think again if nothing happens before.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub wake: Option<Instant>,
}

/// Why a record is not ready, for its condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Two clocks: one that only goes forward, one that people read.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub monotonic: Instant,
    pub wall: Timestamp,
}

/// What must be done next.
#[must_use]
pub fn plan(desired: &Desired, observed: Observed<'_>, now: Now) -> Plan {
    let mut planner = Planner {
        observed,
        now,
        plan: Plan::default(),
        taken: BTreeMap::new(),
    };
    for instance in &desired.unsettled {
        planner.look_at_instance(instance);
    }
    if desired.unresolved {
        planner.look_at_catalog();
    }
    for wish in &desired.wishes {
        if !observed.records.iter().any(|r| r.name_any() == wish.record) {
            planner.push(Action::WriteRecord {
                name: wish.record.clone(),
                spec: Box::new(wish.spec.clone()),
            });
        }
    }
    if desired.waits {
        planner.wake(now.monotonic + WAIT_FOR_OTHERS);
    }
    // Those that have an interface choose their place first: they cost money already.
    let mut records: Vec<_> = observed.records.iter().collect();
    records.sort_by_key(|record| {
        let bare = observed.snapshot.of_record(uid(record)).next().is_none();
        (bare, record.spec.position, record.name_any())
    });
    for record in records {
        let name = record.name_any();
        if let Some(release) = desired.releases.iter().find(|one| one.record == name) {
            planner.push(match release.policy {
                None => Action::DeleteRecord {
                    name,
                    why: release.why,
                },
                // Written down first: a record that goes has decided what becomes of its interface.
                Some(deletion_policy) => {
                    let spec = NodeEniAttachmentSpec {
                        deletion_policy,
                        ..record.spec.clone()
                    };
                    let spec = Box::new(spec);
                    Action::ChangeRecord { name, spec }
                }
            });
            continue;
        }
        let wish = desired.wishes.iter().find(|wish| wish.record == name);
        if record.metadata.deletion_timestamp.is_none()
            && let Some(wish) = wish
        {
            let mut spec = wish.spec.clone();
            let eni = chosen(record, &enis(record, observed.snapshot));
            spec.former_tags = tags::former(record, &spec, eni);
            if spec != record.spec {
                let spec = Box::new(spec);
                planner.push(Action::ChangeRecord { name, spec });
                continue;
            }
        }
        planner.record(record);
    }
    planner.plan
}

struct Planner<'a> {
    observed: Observed<'a>,
    now: Now,
    plan: Plan,
    /// Places that this plan gives away, by instance.
    taken: BTreeMap<String, BTreeSet<places::Slot>>,
}

fn uid(record: &NodeEniAttachment) -> &str {
    record.metadata.uid.as_deref().unwrap_or_default()
}

impl<'a> Planner<'a> {
    fn push(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    fn wake(&mut self, at: Instant) {
        self.plan.wake = Some(self.plan.wake.map_or(at, |wake| wake.min(at)));
    }

    fn record(&mut self, record: &'a NodeEniAttachment) {
        let default = Memory::default();
        let memory = self.observed.memories.get(uid(record)).unwrap_or(&default);
        let enis = enis(record, self.observed.snapshot);
        let on = Target {
            record: record.name_any(),
            uid: uid(record).to_owned(),
            node: record.spec.node_name.clone(),
            node_eni: record.spec.node_eni.clone(),
        };
        let first = self.plan.actions.len();
        let eni = chosen(record, &enis);
        let mut note = if let Some(place) = &record.spec.pool {
            self.member(record, place, memory, &on)
        } else if let Some(eni) =
            eni.filter(|eni| !tags::marked(record, self.observed.cluster, eni))
        {
            self.tags(record, eni, &on);
            progressing(format!("somebody changed the tags of {}", eni.id))
        } else if record.metadata.deletion_timestamp.is_some() {
            self.release(record, &enis, memory, &on)
        } else {
            self.grow(record, &enis, memory, &on)
        };
        // Held: the plan stands, and its EC2 calls wait.
        let generation = record.metadata.generation.unwrap_or(0);
        if let Some(hold) = &memory.hold
            && hold.until > self.now.monotonic
            && hold.generation == generation
        {
            let mut waiting = false;
            let mut index = 0;
            self.plan.actions.retain(|action| {
                let keep = index < first
                    || matches!(
                        action,
                        Action::Look(_) | Action::DropFinalizer { .. } | Action::Report { .. }
                    );
                waiting |= !keep;
                index += 1;
                keep
            });
            if waiting {
                self.wake(hold.until);
                note = Some(Note {
                    reason: hold.reason,
                    message: hold.message.clone(),
                });
            }
        }
        // What moves on at once is told of when it stands: each write costs the API server as much
        // as all of the planning. What was reported already, or is gone, needs no second word.
        let told = self.plan.actions[first..].iter().any(|action| {
            matches!(
                action,
                Action::DropFinalizer { .. }
                    | Action::Report { .. }
                    | Action::Create { .. }
                    | Action::Attach { .. }
                    | Action::Associate { .. }
                    | Action::Disassociate { .. }
                    | Action::Detach { .. }
                    | Action::Delete { .. }
            )
        });
        if !told {
            let eni = eni.filter(|eni| member::is_here(record, eni));
            self.report(record, eni, note);
        }
    }

    /// Writes the status if it would say something new.
    fn report(&mut self, record: &NodeEniAttachment, eni: Option<&Eni>, note: Option<Note>) {
        let subnet = self.observed.snapshot.subnets.get(&record.spec.subnet_id);
        let ec2 = status::ec2(record, eni, subnet);
        let ready = status::record_ready(record, &ec2, note, self.now.wall);
        let old = record.status.as_ref();
        let same = old.and_then(|status| status.ec2.as_ref()) == Some(&ec2)
            && old.is_some_and(|status| status.conditions.contains(&ready));
        if !same {
            self.push(Action::Report {
                name: record.name_any(),
                ec2: Box::new(ec2),
                ready: Box::new(ready),
            });
        }
    }

    /// Asks EC2 for a thing of the record, no more often than its pace allows.
    fn look(&mut self, memory: &Memory, look: Look) {
        match memory.pace.waits(self.now.monotonic) {
            Some(at) => self.wake(at),
            None => self.push(Action::Look(look)),
        }
    }

    /// Asks EC2 for an instance, until the whole reads do as well.
    fn look_at_instance(&mut self, id: &InstanceId) {
        let pace = self.observed.paces.get(id).cloned().unwrap_or_default();
        match pace.waits(self.now.monotonic) {
            _ if pace.is_spent() => {}
            Some(at) => self.wake(at),
            None => self.push(Action::Look(Look::Instance(id.clone()))),
        }
    }

    /// Asks EC2 for subnets and groups, when what is known of them is old.
    fn look_at_catalog(&mut self) {
        let due = self.observed.snapshot.catalog;
        match due.map(|at| at + self.observed.catalog_pause) {
            Some(due) if due > self.now.monotonic => self.wake(due),
            Some(_) | None => self.push(Action::Look(Look::Catalog)),
        }
    }
}

/// The interfaces of a record: those that bear its UID, and the one that its status names, whatever
/// somebody did to the tags of that.
fn enis<'a>(record: &NodeEniAttachment, snapshot: &'a Snapshot) -> Vec<&'a Eni> {
    if let Some(place) = &record.spec.pool {
        return snapshot.eni(&place.eni_id).into_iter().collect();
    }
    let mut enis: Vec<_> = snapshot.of_record(uid(record)).collect();
    if let Some(named) = recorded(record).and_then(|id| snapshot.eni(id))
        && named.record() != Some(uid(record))
    {
        enis.push(named);
    }
    enis
}

/// The one of its interfaces that the record's status names, else the first one.
fn chosen<'a>(record: &NodeEniAttachment, enis: &[&'a Eni]) -> Option<&'a Eni> {
    let named = recorded(record).and_then(|id| enis.iter().find(|eni| eni.id == *id));
    named.or(enis.first()).copied()
}

/// The interface that the record's status names.
fn recorded(record: &NodeEniAttachment) -> Option<&EniId> {
    record.status.as_ref()?.ec2.as_ref()?.eni_id.as_ref()
}

fn progressing(message: impl Into<String>) -> Option<Note> {
    Some(Note {
        reason: reason::PROGRESSING,
        message: message.into(),
    })
}
