//! What users ask of addresses, what others do to them, and answers that are lost.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc, time::Duration};

use eniway_api::{Ipv4Wish, Ipv6Wish, mark};
use eniway_controller::{
    action::Action,
    desired::Declared,
    memory::{Assignment, Creation},
};
use eniway_ec2::{Call, Ec2 as _, Error};
use futures::executor::block_on;
use simulation::small_cloud::epoch;

use super::Model;

impl Model {
    /// Every NodeENI asks for these.
    pub(in crate::planner) fn wish_addresses(
        &mut self,
        ipv4: Option<&Ipv4Wish>,
        ipv6: Option<&Ipv6Wish>,
    ) {
        for declared in &mut self.declared {
            if let Declared::Readable(node_eni) = declared {
                let spec = &mut Arc::make_mut(node_eni).spec;
                (spec.ipv4, spec.ipv6) = (ipv4.cloned(), ipv6.cloned());
            }
        }
    }

    /// Time passes in which all reads catch up, and the controller starts anew.
    pub(in crate::planner) fn rest(&mut self) {
        self.pass(Duration::from_secs(120));
        self.crash();
        self.settle();
    }

    /// Somebody assigns an address to each of our interfaces.
    pub(in crate::planner) fn assign_by_hand(&mut self) -> BTreeSet<Ipv4Addr> {
        let before = self.addresses();
        for (eni, _) in &before {
            self.by_hand(
                "AssignPrivateIpAddresses",
                eni,
                "SecondaryPrivateIpAddressCount",
                "1",
            );
        }
        let old: BTreeSet<_> = before.into_iter().flat_map(|(_, all)| all).collect();
        let now = self.addresses().into_iter().flat_map(|(_, all)| all);
        now.filter(|address| !old.contains(address)).collect()
    }

    /// Somebody takes the last address off each interface that has more than one, unless it is of
    /// `theirs`.
    pub(in crate::planner) fn unassign_by_hand(&mut self, theirs: &BTreeSet<Ipv4Addr>) {
        for (eni, addresses) in self.addresses() {
            let last = addresses.iter().skip(1).rfind(|one| !theirs.contains(one));
            if let Some(address) = last {
                let address = address.to_string();
                self.by_hand(
                    "UnassignPrivateIpAddresses",
                    &eni,
                    "PrivateIpAddress.1",
                    &address,
                );
            }
        }
    }

    /// How often EC2 was called for it.
    pub(in crate::planner) fn calls(&self, action: &str) -> u64 {
        let world = self.door.world();
        let codes = world.counters().get(action);
        codes.map_or(0, |codes| codes.values().sum())
    }

    fn by_hand(&self, action: &str, eni: &str, parameter: &str, value: &str) {
        let request = ec2_sim::Request::new(action)
            .with("NetworkInterfaceId", eni)
            .with(parameter, value);
        let now = epoch() + self.passed;
        self.door.world().call(&request, now).unwrap();
    }

    /// The IPv4 addresses of our interfaces, the primary one first.
    fn addresses(&self) -> Vec<(String, Vec<Ipv4Addr>)> {
        let world = self.door.world();
        let ours = world
            .interfaces()
            .filter(|eni| eni.tags.contains_key(mark::TAG_ATTACHMENT));
        ours.map(|eni| (eni.id.to_string(), eni.addresses.clone()))
            .collect()
    }

    /// Every interface has exactly what is asked for, beside what somebody else assigned; an address
    /// that is named is on exactly one.
    pub(in crate::planner) fn check_addresses(&self, theirs: &BTreeSet<Ipv4Addr>) {
        let mut named = BTreeSet::new();
        let mut had = Vec::new();
        let mut all_theirs = theirs.clone();
        let world = self.door.world();
        for record in self.records.values() {
            let (ipv4, ipv6) = (record.spec.ipv4.as_ref(), record.spec.ipv6.as_ref());
            let status = record
                .status
                .as_ref()
                .and_then(|status| status.ec2.as_ref());
            let id = status.and_then(|ec2| ec2.eni_id.as_ref()).unwrap();
            let eni = world
                .interfaces()
                .find(|eni| eni.id.as_str() == id.as_str())
                .unwrap();
            let mut secondary: BTreeSet<_> = eni.addresses.iter().skip(1).copied().collect();
            all_theirs.retain(|address| !secondary.remove(address));
            if let Some(ipv4) = ipv4 {
                named.extend(ipv4.addresses.iter().copied());
                had.extend(
                    eni.addresses
                        .iter()
                        .filter(|one| ipv4.addresses.contains(one))
                        .copied(),
                );
                secondary.retain(|one| !ipv4.addresses.contains(one));
                assert_eq!(
                    secondary.len(),
                    ipv4.secondary_count.unwrap_or(0) as usize,
                    "{eni:?}"
                );
                assert_eq!(
                    eni.prefixes.len(),
                    ipv4.prefix_count.unwrap_or(0) as usize,
                    "{eni:?}"
                );
            }
            if let Some(ipv6) = ipv6 {
                assert_eq!(
                    eni.ipv6_addresses.len(),
                    ipv6.address_count.unwrap_or(0) as usize
                );
                assert_eq!(
                    eni.ipv6_prefixes.len(),
                    ipv6.prefix_count.unwrap_or(0) as usize
                );
            }
        }
        assert_eq!(all_theirs, BTreeSet::new(), "what others assigned stays");
        had.sort();
        assert_eq!(
            had,
            named.into_iter().collect::<Vec<_>>(),
            "each on one interface"
        );
    }

    /// A call that assigns goes out.
    pub(super) fn begins(&mut self, action: &Action) -> Assignment {
        let now = self.now();
        match action {
            Action::Create { on, .. } | Action::Assign { on, .. } => self
                .memories
                .entry(on.uid.clone())
                .or_default()
                .assigns(now),
            _ => Assignment::Unknown,
        }
    }

    pub(super) fn refused(&mut self, action: &Action, before: Assignment, error: &Error) {
        let now = self.now();
        if let Action::Create { on, .. } | Action::Assign { on, .. } = action {
            let memory = self.memories.entry(on.uid.clone()).or_default();
            memory.was_not_assigned(before, error, now);
        }
    }

    /// EC2 does it, or refuses, and nobody hears of it.
    pub(super) fn lose_answer(&mut self, action: &Action, before: Assignment) {
        let now = self.now();
        let _: Result<(), Error> = match action {
            Action::Create { on, new } => {
                let memory = self.memories.entry(on.uid.clone()).or_default();
                memory.creation = Creation::Unanswered(now);
                block_on(self.door.create(new)).map(drop)
            }
            Action::Attach { new, .. } => block_on(self.door.attach(new)).map(drop),
            Action::Modify { eni, change, .. } => block_on(self.door.modify(eni, change)),
            Action::Assign { eni, asked, .. } => block_on(self.door.assign(eni, asked)).map(drop),
            Action::Unassign { eni, entries, .. } => block_on(self.door.unassign(eni, entries)),
            _ => Ok(()),
        };
        let error = Error::TimedOut {
            call: Call::AssignPrivateIpAddresses,
            after: Duration::from_secs(5),
        };
        self.refused(action, before, &error);
    }
}
