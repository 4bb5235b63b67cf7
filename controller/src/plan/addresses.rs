//! Decides which addresses and prefixes an interface gets and loses: ours, and nobody else's.
//!
//! *Expected flow.* The record's status says what is about to be asked for and what is there already;
//! then EC2 is called; then the status says what is ours. EC2 has no token that makes two assignments
//! one, so a call whose answer is lost is never repeated before a read that cannot lag behind it shows
//! what became of it: what is new is ours. At creation the same words stand in the status, and the
//! call's own token makes it safe to repeat.
//!
//! *Guarantees.* Nothing is assigned twice, and what the status does not name as ours is never taken
//! off, wherever a process dies. Should somebody else assign addresses of the same kind between the
//! look that a lost call set out from and the read that shows what became of it, nothing tells whose
//! is whose: EC2's first ones count as ours.

mod balance;
mod room;

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use eniway_api::{AddressKind, Asked, Assigning, Ec2Status, NodeEniAttachment, conditions::reason};
use eniway_ec2::Eni;
use ipnet::IpNet;
use kube::ResourceExt as _;

use self::balance::{Balance, balance, one_call};
use super::{Note, Planner, progressing, recorded};
use crate::{
    action::{Action, Look, Target},
    holders::{self, Pod},
    memory::{Assignment, Memory},
    status,
};

/// How old a read may be from which an assignment sets out.
const FRESH: Duration = Duration::from_secs(5);

/// What became of an assignment that was begun.
enum Outcome {
    /// Nobody called yet.
    Untried,
    /// These are ours now.
    Known(BTreeSet<IpNet>),
    Awaited(Option<Note>),
}

impl<'a> Planner<'a> {
    /// Has the interface bear the addresses that its record asks for; says what keeps it from that.
    pub(super) fn addresses(
        &mut self,
        record: &'a NodeEniAttachment,
        eni: &Eni,
        memory: &Memory,
        on: &Target,
    ) -> Option<Note> {
        let begun = begun(record);
        let mut ours = assigned(record);
        if let Some(begun) = begun {
            match self.outcome(record, eni, begun, memory, on) {
                Outcome::Untried => {}
                Outcome::Awaited(note) => return note,
                Outcome::Known(new) => {
                    ours.extend(new);
                    return self.note_assigned(record, eni, ours, None);
                }
            }
        }
        if record.spec.ipv4.is_none() && record.spec.ipv6.is_none() {
            return match begun {
                None => None,
                Some(_) => self.note_assigned(record, eni, ours, None),
            };
        }
        let lost = self.lost(eni, &ours, memory, on);
        ours.retain(|entry| !lost.contains(entry));

        let names = |address: &Ipv4Addr| self.holder(record, eni, *address);
        let held = |entry: &IpNet| {
            let pods = self.observed.pods?;
            Some(holders::of_address(pods, entry).map(Pod::name))
        };
        let Balance {
            missing,
            off,
            kept,
            taken,
        } = balance(&record.spec, eni, &ours, names, held);
        self.unassign(eni, &off, on);
        let asked = one_call(&missing);
        let kept = self.kept_note(eni, &kept);
        if asked.is_empty() {
            if !lost.is_empty() || begun.is_some() {
                return self.note_assigned(record, eni, ours, None);
            }
            let going = (!off.is_empty())
                .then(|| progressing(format!("addresses of {} are being taken off", eni.id)));
            return taken_note(&taken).or(kept).or(going.flatten());
        }
        if let Err(note) = self.room(record, eni, &asked, &off) {
            return kept.or(note);
        }
        let there = || eni.addresses.iter().chain(&eni.prefixes);
        match begun {
            Some(begun)
                if lost.is_empty()
                    && begun.asked == asked
                    && there().all(|entry| begun.before.contains(entry)) =>
            {
                self.push(Action::Assign {
                    on: on.clone(),
                    eni: eni.id.clone(),
                    asked,
                });
                progressing(format!("addresses are being assigned to {}", eni.id))
            }
            Some(_) | None if !self.is_fresh(eni) => {
                self.look(memory, Look::Eni(eni.id.clone(), on.uid.clone()));
                progressing(format!("looking at {} before it gets addresses", eni.id))
            }
            Some(_) | None => {
                let before = there().copied().collect();
                let next = Some(Assigning { asked, before });
                self.note_assigned(record, eni, ours, next)
            }
        }
    }

    /// What a new interface is asked to have; `Err`: there is no room, or it is written down first.
    pub(super) fn asked_at_creation(
        &mut self,
        record: &'a NodeEniAttachment,
        memory: &Memory,
    ) -> Result<Asked, Option<Note>> {
        let begun = begun(record);
        if let Some(begun) = begun
            && memory.assignment != Assignment::Untried
        {
            // A call may have gone out: the same token makes only the same request.
            self.room_at_creation(record, &begun.asked)?;
            return Ok(begun.asked.clone());
        }
        let free = |address: &Ipv4Addr| self.rival(record, *address).is_none();
        let asked = balance::at_creation(&record.spec, free);
        self.room_at_creation(record, &asked)?;
        if begun.map_or(&Asked::default(), |begun| &begun.asked) == &asked {
            return Ok(asked);
        }
        let ec2 = record.status.as_ref().and_then(|one| one.ec2.clone());
        let next = Assigning {
            asked,
            before: Vec::new(),
        };
        let ec2 = Ec2Status {
            assigning: (!next.asked.is_empty()).then_some(next),
            ..ec2.unwrap_or_default()
        };
        self.note(record, ec2, progressing("being created"));
        Err(None)
    }

    fn outcome(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        begun: &Assigning,
        memory: &Memory,
        on: &Target,
    ) -> Outcome {
        let at_creation = recorded(record).is_none();
        let since = match &memory.assignment {
            Assignment::Answered(entries) => return Outcome::Known(entries.clone()),
            // An interface is there with all that it was made with, or not at all.
            _ if at_creation => return Outcome::Known(balance::claimed(begun, eni)),
            Assignment::Untried => return Outcome::Untried,
            Assignment::Unanswered(at) => *at,
            Assignment::Unknown => self.observed.leading_since,
        };
        if self.is_settled(eni, since, memory, on) {
            Outcome::Known(balance::claimed(begun, eni))
        } else {
            let text = "waiting until EC2 shows what was assigned last";
            Outcome::Awaited(progressing(text))
        }
    }

    /// Those of ours that somebody took off the interface. A read that may lag is no proof.
    fn lost(
        &mut self,
        eni: &Eni,
        ours: &BTreeSet<IpNet>,
        memory: &Memory,
        on: &Target,
    ) -> BTreeSet<IpNet> {
        let absent = ours
            .iter()
            .filter(|entry| !eni.addresses.contains(entry) && !eni.prefixes.contains(entry));
        let mut absent: BTreeSet<_> = absent.copied().collect();
        let by_us = |entry: &IpNet| self.observed.snapshot.took_off(&eni.id, entry);
        if !absent.iter().all(by_us)
            && !self.is_settled(eni, self.observed.leading_since, memory, on)
        {
            absent.retain(|entry| self.observed.snapshot.took_off(&eni.id, entry));
        }
        absent
    }

    /// Whether the interface was read when every call made before `since` must show; if not, has it
    /// read as soon as that can be.
    fn is_settled(&mut self, eni: &Eni, since: Instant, memory: &Memory, on: &Target) -> bool {
        let settled = since + self.observed.grace;
        let read = self.observed.snapshot.read_at(&eni.id);
        if read.is_some_and(|at| at >= settled) {
            return true;
        }
        if self.now.monotonic < settled {
            self.wake(settled);
        } else {
            self.look(memory, Look::Eni(eni.id.clone(), on.uid.clone()));
        }
        false
    }

    /// Whether what is on the interface was read just now: what others assigned since would count as
    /// ours, should our call's answer be lost.
    fn is_fresh(&self, eni: &Eni) -> bool {
        let read = self.observed.snapshot.read_at(&eni.id);
        read.is_some_and(|at| self.now.monotonic < at + FRESH)
    }

    /// Takes these off, one call for each family.
    fn unassign(&mut self, eni: &Eni, off: &BTreeSet<IpNet>, on: &Target) {
        let (ipv4, ipv6): (BTreeSet<_>, BTreeSet<_>) =
            off.iter().partition(|entry| matches!(entry, IpNet::V4(_)));
        for entries in [ipv4, ipv6] {
            if !entries.is_empty() {
                self.push(Action::Unassign {
                    on: on.clone(),
                    eni: eni.id.clone(),
                    entries,
                });
            }
        }
    }

    /// Writes down what is ours and what is asked for next.
    fn note_assigned(
        &mut self,
        record: &NodeEniAttachment,
        eni: &Eni,
        assigned: BTreeSet<IpNet>,
        assigning: Option<Assigning>,
    ) -> Option<Note> {
        let subnet = self.observed.snapshot.subnets.get(&record.spec.subnet_id);
        let ec2 = Ec2Status {
            assigned,
            assigning,
            ..status::ec2(record, Some(eni), subnet)
        };
        let note = progressing(format!("addresses of {} are being changed", eni.id));
        self.note(record, ec2, note.clone());
        note
    }

    /// Writes a status that says what is done next.
    pub(super) fn note(&mut self, record: &NodeEniAttachment, ec2: Ec2Status, note: Option<Note>) {
        let ready = status::record_ready(record, &ec2, note, self.now.wall);
        self.push(Action::Report {
            name: record.name_any(),
            ec2: Box::new(ec2),
            ready: Box::new(ready),
        });
    }

    /// Who has an address that the interface lacks, as far as is known.
    fn holder(&self, record: &NodeEniAttachment, eni: &Eni, address: Ipv4Addr) -> Option<String> {
        if eni
            .addresses
            .contains(&IpNet::from(std::net::IpAddr::from(address)))
        {
            return None;
        }
        self.rival(record, address)
    }

    fn rival(&self, record: &NodeEniAttachment, address: Ipv4Addr) -> Option<String> {
        let key = (record.name_any(), address);
        self.observed.rivals.get(&key).cloned()
    }

    /// What stays because pods use it, or may.
    fn kept_note(&mut self, eni: &Eni, kept: &[(IpNet, Option<String>)]) -> Option<Note> {
        let (entry, pod) = kept.first()?;
        self.wake(self.now.monotonic + super::release::ASK_AGAIN);
        match pod {
            Some(pod) => Some(Note {
                reason: reason::IN_USE,
                message: format!("pod {pod} uses {entry}, which {} is to lose", eni.id),
            }),
            None => progressing(format!("asking which pods use addresses of {}", eni.id)),
        }
    }
}

fn taken_note(taken: &[(Ipv4Addr, String)]) -> Option<Note> {
    let (address, holder) = taken.first()?;
    Some(Note {
        reason: reason::ADDRESS_TAKEN,
        message: format!("{holder} has {address}, which is on one interface at a time"),
    })
}

/// What was begun, if something was.
fn begun(record: &NodeEniAttachment) -> Option<&Assigning> {
    record.status.as_ref()?.ec2.as_ref()?.assigning.as_ref()
}

/// What is ours of the interface's addresses.
fn assigned(record: &NodeEniAttachment) -> BTreeSet<IpNet> {
    let status = record.status.as_ref();
    let ec2 = status.and_then(|status| status.ec2.as_ref());
    ec2.map(|ec2| ec2.assigned.clone()).unwrap_or_default()
}

/// Whether the record asks for fewer addresses than are ours: then pods are asked about.
pub(crate) fn gives_up(record: &NodeEniAttachment) -> bool {
    let ours = assigned(record);
    !ours.is_empty() && balance::is_more_than_asked(&record.spec, &ours)
}

/// How many addresses of its subnet a record will take that it has not taken yet.
pub(crate) fn will_take(record: &NodeEniAttachment) -> u32 {
    let status = record.status.as_ref();
    let ec2 = status.and_then(|status| status.ec2.as_ref());
    // An interface that is adopted, or of a pool, has its address.
    let made = record.spec.adopt.is_none() && record.spec.pool.is_none();
    let unborn = made && ec2.is_none_or(|ec2| ec2.eni_id.is_none());
    let primary = u32::from(unborn);
    let ours = assigned(record);
    let has = |kind| {
        let of_kind = ours.iter().filter(|entry| AddressKind::of(entry) == kind);
        u32::try_from(of_kind.count()).unwrap_or(u32::MAX)
    };
    let more = [AddressKind::Ipv4, AddressKind::Ipv4Prefix].map(|kind| {
        let asked = balance::wanted(&record.spec).count(kind);
        asked.saturating_sub(has(kind)) * kind.subnet_addresses()
    });
    primary + more.iter().sum::<u32>()
}

#[cfg(test)]
mod tests;
