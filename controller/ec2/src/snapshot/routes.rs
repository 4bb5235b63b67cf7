//! Route tables: as reads show them, with our own changes on top, which reads lag behind.

use std::{collections::BTreeMap, time::Instant};

use eniway_api::{EniId, RouteTableId};
use ipnet::IpNet;

use super::Snapshot;
use crate::{Route, RouteChange, RouteDeed, RouteTable, RouteTarget};

/// The route tables of the network.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    /// As they are now, as far as is known; `None`: never read.
    known: Option<Vec<RouteTable>>,
    /// When the newest read began.
    read: Option<Instant>,
    /// What we changed lately.
    changed: BTreeMap<(RouteTableId, IpNet), Changed>,
    /// When a change was tried that nobody answered for good: EC2 may have made it.
    tried: BTreeMap<(RouteTableId, IpNet), Instant>,
}

/// A route that we changed.
#[derive(Clone, Debug)]
struct Changed {
    /// Where it leads since; `None`: it is gone.
    now: Option<EniId>,
    at: Instant,
    /// Where it led before; `None`: it was not there. A read that shows this is late, one that shows anything
    /// else is newer than our change.
    before: Vec<Option<RouteTarget>>,
}

impl Snapshot {
    /// The route tables, once they were read.
    #[must_use]
    pub fn tables(&self) -> Option<&[RouteTable]> {
        self.tables.known.as_deref()
    }

    /// Takes in a read of all route tables, begun at `begun`.
    pub fn read_tables(&mut self, mut tables: Vec<RouteTable>, begun: Instant) {
        let grace = self.grace;
        let changed = &mut self.tables.changed;
        changed.retain(|_, one| begun < one.at + grace);
        self.tables.tried.retain(|_, at| begun < *at + grace * 2);
        for table in &mut tables {
            changed.retain(|(id, destination), one| {
                if *id != table.id {
                    return true;
                }
                let shown = target(table, destination);
                let late = one.before.contains(&shown);
                let ours = shown == one.now.clone().map(RouteTarget::Interface);
                if late {
                    put(table, *destination, one.now.as_ref());
                }
                late || ours
            });
        }
        self.tables.known = Some(tables);
        self.tables.read = Some(begun);
    }

    /// A change of a route is about to be tried.
    pub fn routing(&mut self, change: &RouteChange, now: Instant) {
        let key = (change.table.clone(), change.destination);
        self.tables.tried.insert(key, now);
    }

    /// EC2 answered a change of a route.
    pub fn routed(&mut self, change: &RouteChange, now: Instant) {
        let key = (change.table.clone(), change.destination);
        self.tables.tried.remove(&key);
        let mut known = self.tables.known.iter_mut().flatten();
        let Some(table) = known.find(|table| table.id == change.table) else {
            return;
        };
        let leads = match &change.deed {
            RouteDeed::Create(eni) | RouteDeed::Replace(eni) => Some(eni.clone()),
            RouteDeed::Delete => None,
        };
        let before = target(table, &change.destination);
        put(table, change.destination, leads.as_ref());
        let earlier = self.tables.changed.remove(&key);
        let mut before = Vec::from_iter((before.is_some() || leads.is_some()).then_some(before));
        before.extend(earlier.into_iter().flat_map(|one| one.before));
        let leads_to = leads.clone().map(RouteTarget::Interface);
        before.retain(|one| *one != leads_to);
        let changed = Changed {
            now: leads,
            at: now,
            before,
        };
        self.tables.changed.insert(key, changed);
    }

    /// Whether the newest read of the tables tells for good what became of a route that led to the interface:
    /// it began late enough after the last change that may have been made, by us or a former leader, and
    /// after the interface went.
    #[must_use]
    pub fn is_route_settled(&self, table: &RouteTableId, destination: IpNet, eni: &EniId) -> bool {
        let tried = self.tables.tried.get(&(table.clone(), destination));
        let went = self.gone.get(eni).or(self.lost.get(eni));
        let since = went.max(tried).copied().max(self.first);
        let settled = since.map(|since| since + self.grace);
        settled.is_some_and(|settled| self.tables.read.is_some_and(|read| read >= settled))
    }
}

fn target(table: &RouteTable, destination: &IpNet) -> Option<RouteTarget> {
    let mut routes = table.routes.iter();
    let route = routes.find(|route| route.destination == *destination);
    route.map(|route| route.target.clone())
}

fn put(table: &mut RouteTable, destination: IpNet, leads: Option<&EniId>) {
    table
        .routes
        .retain(|route| route.destination != destination);
    table.routes.extend(leads.map(|eni| Route {
        destination,
        target: RouteTarget::Interface(eni.clone()),
        blackhole: false,
    }));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn table(target: &str) -> Vec<RouteTable> {
        let target = (!target.is_empty()).then(|| match target.strip_prefix("eni-") {
            Some(_) => RouteTarget::Interface(target.into()),
            None => RouteTarget::Other(target.to_owned()),
        });
        vec![RouteTable {
            id: "rtb-1".into(),
            routes: Vec::from_iter(target.map(|target| Route {
                destination: "10.9.0.0/16".parse().unwrap(),
                target,
                blackhole: false,
            })),
        }]
    }

    fn shown(snapshot: &Snapshot) -> String {
        let routes = snapshot.tables().unwrap()[0].routes.iter();
        routes.map(|route| route.target.to_string()).collect()
    }

    /// We `do` something to a route that leads to `was`; then reads show `late`, 1 s after, and 60 s after.
    #[track_caller]
    fn check(was: &str, deed: &RouteDeed, late: &str, soon: &str, then: &str) {
        let start = Instant::now();
        let mut snapshot = Snapshot::new(GRACE);
        snapshot.read_tables(table(was), start);
        let change = RouteChange {
            table: "rtb-1".into(),
            destination: "10.9.0.0/16".parse().unwrap(),
            deed: deed.clone(),
        };
        snapshot.routed(&change, start);
        snapshot.read_tables(table(late), start + Duration::from_secs(1));
        assert_eq!(shown(&snapshot), soon);
        snapshot.read_tables(table(late), start + GRACE);
        assert_eq!(shown(&snapshot), then);
    }

    #[test]
    fn a_read_that_lags_behind_our_change_takes_nothing_back() {
        let to = |eni: &str| eni.into();
        check("", &RouteDeed::Create(to("eni-1")), "", "eni-1", "");
        check(
            "eni-1",
            &RouteDeed::Replace(to("eni-2")),
            "eni-1",
            "eni-2",
            "eni-1",
        );
        check("eni-1", &RouteDeed::Delete, "eni-1", "", "eni-1");
    }

    #[test]
    fn a_read_that_shows_what_another_made_of_the_route_is_believed() {
        let to = |eni: &str| eni.into();
        check(
            "",
            &RouteDeed::Create(to("eni-1")),
            "igw-1",
            "igw-1",
            "igw-1",
        );
        check("eni-1", &RouteDeed::Replace(to("eni-2")), "", "", "");
        check("eni-1", &RouteDeed::Delete, "igw-1", "igw-1", "igw-1");
    }

    #[test]
    fn a_route_settles_a_grace_after_the_last_that_may_have_changed_it() {
        let (start, eni) = (Instant::now(), EniId::from("eni-1"));
        let mut snapshot = Snapshot::new(GRACE);
        let change = RouteChange {
            table: "rtb-1".into(),
            destination: "10.9.0.0/16".parse().unwrap(),
            deed: RouteDeed::Create(eni.clone()),
        };
        let check = |snapshot: &mut Snapshot, since: Instant| {
            let settled = |snapshot: &Snapshot| {
                snapshot.is_route_settled(&change.table, change.destination, &eni)
            };
            snapshot.read_tables(table("eni-1"), since + GRACE - Duration::from_secs(1));
            assert!(!settled(snapshot));
            snapshot.read_tables(table("eni-1"), since + GRACE);
            assert!(settled(snapshot));
        };
        snapshot.read_all_enis(Vec::new(), start);
        check(&mut snapshot, start);
        snapshot.deleted(&eni, start + GRACE);
        check(&mut snapshot, start + GRACE);
        snapshot.routing(&change, start + GRACE * 2);
        check(&mut snapshot, start + GRACE * 2);
    }
}
