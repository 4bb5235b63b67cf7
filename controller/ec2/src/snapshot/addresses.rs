//! What our own calls changed of addresses lately, so that a read that lags behind them shows it.
//!
//! Addresses are counted: one that a late read lacks would be assigned a second time. A read may
//! still tell what others changed meanwhile, so ours is put over it and the rest is believed.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use eniway_api::{AddressKind, EniId};
use ipnet::IpNet;

use super::Snapshot;
use crate::{Association, Eni};

/// By interface: our own changes, and when the newest read that showed it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Lately {
    changes: BTreeMap<EniId, BTreeMap<IpNet, Change>>,
    /// When we last changed the Elastic IP of a primary address, and what to.
    associations: BTreeMap<EniId, (Instant, Option<Association>)>,
    reads: BTreeMap<EniId, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    at: Instant,
    /// Assigned, or taken off.
    there: bool,
}

impl Lately {
    /// A read shows the interface: what it may not know yet is put right.
    pub(super) fn read(&mut self, eni: &mut Eni, begun: Instant, grace: Duration) {
        self.reads.insert(eni.id.clone(), begun);
        match self.associations.get(&eni.id) {
            Some((at, ours)) if begun < *at + grace => eni.association.clone_from(ours),
            Some(_) => drop(self.associations.remove(&eni.id)),
            None => {}
        }
        let Some(changes) = self.changes.get_mut(&eni.id) else {
            return;
        };
        changes.retain(|_, change| begun < change.at + grace);
        for (entry, change) in changes.iter() {
            put(eni, *entry, change.there);
        }
        if changes.is_empty() {
            self.changes.remove(&eni.id);
        }
    }

    pub(super) fn forget(&mut self, eni: &EniId) {
        self.changes.remove(eni);
        self.associations.remove(eni);
        self.reads.remove(eni);
    }

    /// The interface has this public address now, or none.
    pub(super) fn associated(&mut self, eni: &EniId, now: Option<Association>, at: Instant) {
        self.associations.insert(eni.clone(), (at, now));
    }
}

impl Snapshot {
    /// EC2 answered that the interface has these as well.
    pub fn assigned(&mut self, eni: &EniId, entries: &[IpNet], now: Instant) {
        let taken = taken(entries.iter());
        if let Some(subnet) = self.eni(eni).map(|eni| eni.subnet.clone())
            && let Some(subnet) = self.subnets.get_mut(&subnet)
        {
            subnet.free_addresses = subnet.free_addresses.saturating_sub(taken);
        }
        self.readdressed(eni, entries.iter().copied(), true, now);
    }

    /// EC2 answered that the interface has these no more.
    pub fn unassigned(&mut self, eni: &EniId, entries: &BTreeSet<IpNet>, now: Instant) {
        self.readdressed(eni, entries.iter().copied(), false, now);
    }

    /// When the newest read that showed the interface began.
    #[must_use]
    pub fn read_at(&self, eni: &EniId) -> Option<Instant> {
        self.lately.reads.get(eni).copied()
    }

    /// Whether a call of ours took this off the interface lately.
    #[must_use]
    pub fn took_off(&self, eni: &EniId, entry: &IpNet) -> bool {
        let changes = self.lately.changes.get(eni);
        let change = changes.and_then(|changes| changes.get(entry));
        change.is_some_and(|change| !change.there)
    }

    fn readdressed(
        &mut self,
        id: &EniId,
        entries: impl Iterator<Item = IpNet>,
        there: bool,
        at: Instant,
    ) {
        let Some(mut eni) = self.eni(id).cloned() else {
            return;
        };
        let changes = self.lately.changes.entry(id.clone()).or_default();
        for entry in entries {
            changes.insert(entry, Change { at, there });
            put(&mut eni, entry, there);
        }
        self.insert(eni, Some(at));
    }
}

/// How many of a subnet's addresses these take.
pub(super) fn taken(entries: impl Iterator<Item = impl Borrow<IpNet>>) -> u32 {
    entries
        .map(|entry| AddressKind::of(entry.borrow()).subnet_addresses())
        .sum()
}

fn put(eni: &mut Eni, entry: IpNet, there: bool) {
    let list = match AddressKind::of(&entry) {
        AddressKind::Ipv4 | AddressKind::Ipv6 => &mut eni.addresses,
        AddressKind::Ipv4Prefix | AddressKind::Ipv6Prefix => &mut eni.prefixes,
    };
    if !there {
        list.retain(|known| *known != entry);
    } else if !list.contains(&entry) {
        // IPv4 first, as EC2's lists are read.
        let first_ipv6 = list.iter().position(|known| matches!(known, IpNet::V6(_)));
        match (entry, first_ipv6) {
            (IpNet::V4(_), Some(place)) => list.insert(place, entry),
            (IpNet::V4(_) | IpNet::V6(_), _) => list.push(entry),
        }
    }
}
