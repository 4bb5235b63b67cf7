//! Decides which routes of the VPC must change, so that they lead to a ready interface of a NodeENI.
//!
//! Pure, and worked out anew each time from the route tables as they are. A route that leads to
//! something else is left alone; one whose interface is gone is known by the status, which lists what
//! led to an interface of the NodeENI when it was last seen.

use std::{cmp::Reverse, collections::BTreeSet, fmt, sync::Arc};

use eniway_api::{
    EniId, NodeEni, NodeEniAttachment, RouteStatus, RouteTableId,
    conditions::reason,
    mark::{self, Role},
};
use eniway_ec2::{
    AttachmentState, InstanceState, Route, RouteChange, RouteDeed, RouteTable, RouteTarget,
    Snapshot,
};
use ipnet::IpNet;
use kube::ResourceExt as _;

use crate::status;

/// What the decision looks at.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub node_eni: &'a NodeEni,
    /// The NodeENI's records.
    pub records: &'a [Arc<NodeEniAttachment>],
    pub snapshot: &'a Snapshot,
    pub tables: &'a [RouteTable],
    /// What the status lists.
    pub listed: &'a [RouteStatus],
}

/// A route, by its table and destination.
pub type Key = (RouteTableId, IpNet);

/// What is to be done, and what is to be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    pub changes: Vec<RouteChange>,
    /// What the status is to list, before anything is changed.
    pub listed: Vec<RouteStatus>,
    pub troubles: Vec<Trouble>,
    /// The tables may be older than what is listed: another read is to decide.
    pub unclear: bool,
}

/// Why a route does not lead where it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: &'static str,
    pub message: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The routes that the NodeENI asks for; none while it is being deleted.
#[must_use]
pub fn wanted(node_eni: &NodeEni) -> BTreeSet<Key> {
    let deleting = node_eni.metadata.deletion_timestamp.is_some();
    let routes = node_eni.spec.routes.iter().filter(|_| !deleting);
    routes
        .map(|route| (route.route_table_id.clone(), route.destination.trunc()))
        .collect()
}

/// What must be done for the NodeENI's routes.
#[must_use]
pub fn routes(inputs: Inputs<'_>) -> Routes {
    let mut routes = Routes::default();
    let wanted = wanted(inputs.node_eni);
    for key in &wanted {
        routes.keep(inputs, key);
    }
    let deleting = inputs.node_eni.metadata.deletion_timestamp.is_some();
    let unasked = inputs.tables.iter().flat_map(|table| {
        let key = |route: &Route| (table.id.clone(), route.destination);
        table.routes.iter().map(move |route| (key(route), route))
    });
    for (key, route) in unasked.filter(|(key, _)| !wanted.contains(key)) {
        routes.leave(inputs, &key, route, deleting);
    }
    routes.remember(inputs);
    let check = inputs.node_eni.spec.source_dest_check.unwrap_or(true);
    if check && !wanted.is_empty() {
        routes.trouble(
            reason::SOURCE_DEST_CHECK_ON,
            "EC2 drops what is routed to an interface for others: set sourceDestCheck: false"
                .to_owned(),
        );
    }
    routes
}

impl Routes {
    fn trouble(&mut self, reason: &'static str, message: String) {
        self.troubles.push(Trouble { reason, message });
    }

    fn list(&mut self, key: &Key, eni: &EniId, created: bool) {
        self.listed.push(RouteStatus {
            route_table_id: key.0.clone(),
            destination: key.1,
            eni_id: eni.clone(),
            created,
        });
    }

    fn change(&mut self, key: &Key, deed: RouteDeed) {
        self.changes.push(RouteChange {
            table: key.0.clone(),
            destination: key.1,
            deed,
        });
    }

    /// A route that is asked for.
    fn keep(&mut self, inputs: Inputs<'_>, key: &Key) {
        let (table, destination) = key;
        let Some(found) = inputs.tables.iter().find(|one| one.id == *table) else {
            let message = format!("the cluster's VPC has no route table {table}");
            return self.trouble(reason::ROUTE_TABLE_NOT_FOUND, message);
        };
        let nobody = |what: String| format!("no interface is ready to take {destination}: {what}");
        let mut routes = found.routes.iter();
        let Some(route) = routes.find(|route| route.destination == *destination) else {
            return match taker(inputs, None) {
                Some(eni) => {
                    // Listed as created before it is: after a crash it is still known as ours.
                    self.list(key, eni, true);
                    self.change(key, RouteDeed::Create(eni.clone()));
                }
                None => self.trouble(
                    reason::NO_READY_INTERFACE,
                    nobody(format!("it is not in {table} yet")),
                ),
            };
        };
        let created = inputs.is_created(key);
        match inputs.ours(key, route) {
            Some(eni) => match taker(inputs, Some(eni)) {
                Some(next) if next == eni => {
                    self.list(key, eni, created);
                    if route.blackhole {
                        self.blackhole(key, eni);
                    }
                }
                Some(next) => {
                    // Both are listed: after a crash either may be where it leads.
                    self.list(key, eni, created);
                    self.list(key, next, created);
                    self.change(key, RouteDeed::Replace(next.clone()));
                }
                None => {
                    self.list(key, eni, created);
                    let message = nobody(format!("it leads to {eni} in {table}"));
                    self.trouble(reason::NO_READY_INTERFACE, message);
                }
            },
            None => self.trouble(
                reason::ROUTE_FOREIGN,
                format!(
                    "{destination} in {table} leads to {}, which is not an interface of this \
                     NodeENI, and is left alone: delete the route, or take it out of spec.routes",
                    route.target
                ),
            ),
        }
    }

    /// A route that is not asked for: told of while it leads to an interface of ours, and deleted
    /// only if it is of our making.
    fn leave(&mut self, inputs: Inputs<'_>, key: &Key, route: &Route, deleting: bool) {
        let Some(eni) = inputs.ours(key, route) else {
            return;
        };
        if inputs.is_created(key) {
            self.list(key, eni, true);
            self.change(key, RouteDeed::Delete);
        } else if !deleting {
            self.list(key, eni, false);
            if route.blackhole {
                self.blackhole(key, eni);
            }
        }
    }

    /// What we made stays listed while the tables may be older than that: they lag behind what another leader did
    /// before us, and behind the end of an interface.
    fn remember(&mut self, inputs: Inputs<'_>) {
        let count = self.listed.len();
        let key = |one: &RouteStatus| (one.route_table_id.clone(), one.destination);
        let known: BTreeSet<_> = self.listed.iter().map(key).collect();
        let made = inputs.listed.iter().filter(|one| one.created);
        let unclear = made.filter(|one| {
            let (table, destination) = key(one);
            let snapshot = inputs.snapshot;
            let settled = snapshot.is_route_settled(&table, destination, &one.eni_id);
            !settled && !known.contains(&(table, destination))
        });
        self.listed.extend(unclear.cloned());
        self.unclear = self.listed.len() > count;
    }

    fn blackhole(&mut self, (table, destination): &Key, eni: &EniId) {
        let message = format!(
            "{destination} in {table} leads to {eni}, where nobody takes it: EC2 drops it (blackhole)"
        );
        self.trouble(reason::ROUTE_BLACKHOLE, message);
    }
}

impl<'a> Inputs<'a> {
    /// One, or two while the route is moved from an interface to another.
    fn listed(&self, key: &Key) -> impl Iterator<Item = &'a RouteStatus> {
        let is = |one: &&RouteStatus| one.route_table_id == key.0 && one.destination == key.1;
        self.listed.iter().filter(is)
    }

    fn is_created(&self, key: &Key) -> bool {
        self.listed(key).any(|one| one.created)
    }

    /// The interface that the route leads to, if it is the NodeENI's, or was before it went.
    fn ours(&self, key: &Key, route: &'a Route) -> Option<&'a EniId> {
        let RouteTarget::Interface(eni) = &route.target else {
            return None;
        };
        let was = route.blackhole && self.listed(key).any(|one| one.eni_id == *eni);
        (was || self.is_mine(eni)).then_some(eni)
    }

    fn is_mine(&self, eni: &EniId) -> bool {
        let uid = self.node_eni.metadata.uid.as_ref();
        let bears = |eni: &eniway_ec2::Eni| {
            let role = eni.tags.get(mark::TAG_ROLE);
            uid.is_some()
                && eni.tags.get(mark::TAG_NODE_ENI_UID) == uid.map(String::as_str)
                && role == Some(Role::Attachment.as_str())
        };
        self.snapshot.eni(eni).is_some_and(bears)
    }
}

/// Who takes a route: the ready interface that has it keeps it, else the first by the node's name.
fn taker<'a>(inputs: Inputs<'a>, current: Option<&EniId>) -> Option<&'a EniId> {
    let mut takers: Vec<_> = inputs
        .records
        .iter()
        .filter_map(|record| Some((record, takes(inputs.snapshot, record)?)))
        .collect();
    takers.sort_by_key(|(record, _)| {
        let spec = &record.spec;
        let ready = Reverse(status::ready(record));
        (ready, &spec.node_name, spec.position, record.name_any())
    });
    let has = takers.iter().find(|(_, eni)| Some(*eni) == current);
    has.or(takers.first()).map(|(_, eni)| *eni)
}

/// The record's interface, if it forwards: it is wanted, attached to an instance that runs, and its
/// node calls it ready, or nothing at all.
fn takes<'a>(snapshot: &Snapshot, record: &'a NodeEniAttachment) -> Option<&'a EniId> {
    let status = record.status.as_ref()?;
    let eni = status.ec2.as_ref()?.eni_id.as_ref()?;
    let attachment = snapshot.eni(eni)?.attachment.as_ref()?;
    let instance = snapshot.instance(&attachment.instance)?;
    let silent = status.node.is_none() && status::attached(record);
    let forwards = record.metadata.deletion_timestamp.is_none()
        && attachment.state == AttachmentState::Attached
        && attachment.instance == record.spec.instance_id
        && instance.state == InstanceState::Running
        && (silent || status::ready(record));
    forwards.then_some(eni)
}

#[cfg(test)]
mod tests;
