//! Decides what must change in the node's network for one interface: name, settings, addresses, routes, rules.
//!
//! What others made is left alone. An address that is there already, whoever gave it, serves.

use std::{collections::BTreeMap, fmt};

use eniway_api::{EniId, MacAddress};
use ipnet::IpNet;

use super::sources;
use crate::{
    desired::network::Network,
    netlink::{IfIndex, KeptSource, Route, Rule, Stack},
    observe::{Interface, Presence},
    sysctl::Sysctl,
};

/// What the kernel shows of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub stack: Stack,
    /// The interface's settings.
    pub sysctls: BTreeMap<Sysctl, u32>,
    /// What they were before ours; absent where they were not changed.
    pub found: BTreeMap<Sysctl, u32>,
    /// The alternative name that we gave it, whether it is there or not.
    pub name: Option<String>,
    /// Whether systemd-networkd leaves it alone; absent where there is none.
    pub is_unmanaged: Option<bool>,
    /// The node's own setting, below which no interface's counts.
    pub rp_filter: u32,
}

/// One change, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    AddName {
        eni: EniId,
        index: IfIndex,
        interface: String,
        name: String,
    },
    RemoveName {
        eni: EniId,
        index: IfIndex,
        interface: String,
        name: String,
    },
    /// Forgets the name of an interface that is not here any more.
    ForgetName {
        eni: EniId,
    },
    /// Remembers what was found, and sets another value.
    Set {
        eni: EniId,
        interface: String,
        sysctl: Sysctl,
        found: u32,
        value: u32,
    },
    /// Gives the interface the value back that it was found with.
    Restore {
        eni: EniId,
        interface: String,
        sysctl: Sysctl,
        value: u32,
    },
    /// Forgets the value of an interface that is not here any more.
    Forget {
        eni: EniId,
        sysctl: Sysctl,
    },
    AddAddress {
        index: IfIndex,
        interface: String,
        address: IpNet,
    },
    RemoveAddress {
        index: IfIndex,
        interface: String,
        address: IpNet,
    },
    AddRoute(Route),
    RemoveRoute(Route),
    AddRule(Rule),
    RemoveRule(Rule),
    /// Lets nobody translate a source.
    KeepSource(KeptSource),
    FreeSource(KeptSource),
    /// Tells systemd-networkd to leave the interface alone.
    Unmanage {
        eni: EniId,
        mac: MacAddress,
    },
    /// Leaves it to systemd-networkd again.
    Manage {
        eni: EniId,
    },
}

/// What makes the network what it should be. Routes wait until the interface is up: the kernel takes none before.
/// Those to `pods`, by their indexes, came with them and go with them.
#[must_use]
pub fn provide(
    eni: &EniId,
    wanted: &Network,
    interface: &Interface,
    shown: &Shown,
    pods: &[IfIndex],
) -> Vec<Change> {
    let (index, name) = (interface.index, &interface.name);
    let mut changes = Vec::new();
    if let Some(old) = &shown.name
        && wanted.name.as_ref() != Some(old)
    {
        changes.push(unname(eni, interface, old));
    }
    if let Some(other) = wanted
        .name
        .as_ref()
        .filter(|other| !interface.is_named(other))
    {
        changes.push(Change::AddName {
            eni: eni.clone(),
            index,
            interface: name.clone(),
            name: other.clone(),
        });
    }
    changes.extend(settings(eni, wanted, interface, shown));
    let here = |address: &IpNet| {
        let mut addresses = shown.stack.addresses.iter();
        addresses.any(|one| one.interface == index && one.address.addr() == address.addr())
    };
    let missing = wanted.addresses.iter().filter(|address| !here(address));
    changes.extend(missing.map(|address| Change::AddAddress {
        index,
        interface: name.clone(),
        address: *address,
    }));
    let routes = routes(wanted, index);
    if interface.up {
        let missing = routes
            .iter()
            .filter(|route| !shown.stack.routes.contains(route));
        changes.extend(missing.copied().map(Change::AddRoute));
    }
    let missing = wanted
        .rules
        .iter()
        .filter(|rule| !shown.stack.rules.contains(rule));
    changes.extend(missing.copied().map(Change::AddRule));
    changes.extend(sources::keep(eni, wanted, index, &shown.stack.sources));

    let of_table = |table: u32| wanted.table == Some(table);
    let rules = shown.stack.rules.iter();
    let stale = rules.filter(|rule| of_table(rule.table) && !wanted.rules.contains(rule));
    changes.extend(stale.copied().map(Change::RemoveRule));
    // One to a destination that is wanted otherwise is replaced.
    let replaced = |stale: &Route| {
        routes
            .iter()
            .any(|one| one.destination == stale.destination)
    };
    let stale = shown
        .stack
        .routes
        .iter()
        .filter(|route| of_table(route.table) && !pods.contains(&route.interface));
    changes.extend(
        stale
            .filter(|route| !replaced(route))
            .copied()
            .map(Change::RemoveRoute),
    );
    let keeps = |one: &IpNet| {
        let mut addresses = wanted.addresses.iter();
        addresses.any(|address| address.addr() == one.addr())
    };
    let stale = ours(shown, index).filter(|address| !keeps(address));
    changes.extend(stale.map(|address| Change::RemoveAddress {
        index,
        interface: name.clone(),
        address,
    }));
    changes
}

/// What takes away all that was added. Addresses and routes of an interface that is gone went with it.
#[must_use]
pub fn withdraw(eni: &EniId, wanted: &Network, presence: &Presence, shown: &Shown) -> Vec<Change> {
    // Also those that were asked for before: nothing else uses the interface's table.
    let rules = shown.stack.rules.iter();
    let mut changes: Vec<_> = rules
        .filter(|rule| wanted.rules.contains(rule) || wanted.table == Some(rule.table))
        .copied()
        .map(Change::RemoveRule)
        .chain(sources::free(eni, &shown.stack.sources))
        .collect();
    let Presence::Present(interface) = presence else {
        let found = shown.found.keys().map(|sysctl| Change::Forget {
            eni: eni.clone(),
            sysctl: *sysctl,
        });
        changes.extend(found);
        let name = shown.name.as_ref();
        changes.extend(name.map(|_| Change::ForgetName { eni: eni.clone() }));
        return changes;
    };
    let (index, name) = (interface.index, &interface.name);
    let routes = shown.stack.routes.iter();
    let routes = routes.filter(|route| route.interface == index);
    changes.extend(routes.copied().map(Change::RemoveRoute));
    changes.extend(ours(shown, index).map(|address| Change::RemoveAddress {
        index,
        interface: name.clone(),
        address,
    }));
    changes.extend(settings(eni, &Network::default(), interface, shown));
    // An agent before this one did not write down which name it gave.
    let given = shown.name.as_ref().or(wanted.name.as_ref());
    let ours = |other: &&String| shown.name.is_some() || interface.other_names.contains(other);
    changes.extend(
        given
            .filter(ours)
            .map(|other| unname(eni, interface, other)),
    );
    changes
}

/// Takes an alternative name off, or forgets it if somebody else did.
fn unname(eni: &EniId, interface: &Interface, name: &str) -> Change {
    let eni = eni.clone();
    if !interface.other_names.iter().any(|other| other == name) {
        return Change::ForgetName { eni };
    }
    Change::RemoveName {
        eni,
        index: interface.index,
        interface: interface.name.clone(),
        name: name.to_owned(),
    }
}

/// What takes the rules away of an interface that a pod has. Its addresses and routes went with it, its rules did not.
#[must_use]
pub fn suspend(eni: &EniId, wanted: &Network, shown: &Shown) -> Vec<Change> {
    let rules = shown.stack.rules.iter();
    let left = rules.filter(|rule| wanted.table == Some(rule.table));
    let left = left.copied().map(Change::RemoveRule);
    left.chain(sources::free(eni, &shown.stack.sources))
        .collect()
}

/// Our rules and routes of tables that no record uses.
#[must_use]
pub fn orphans(stack: &Stack, tables: &[u32]) -> Vec<Change> {
    let unknown = |table: u32| !tables.contains(&table);
    let rules = stack.rules.iter().filter(|rule| unknown(rule.table));
    let routes = stack.routes.iter().filter(|route| unknown(route.table));
    let rules = rules.copied().map(Change::RemoveRule);
    rules
        .chain(routes.copied().map(Change::RemoveRoute))
        .collect()
}

/// Why the check of the route back is not what is asked for.
#[must_use]
pub fn overruled(wanted: &Network, shown: &Shown) -> Option<String> {
    let asked = *wanted.sysctls.get(&Sysctl::RpFilter)?;
    (shown.rp_filter > asked).then(|| {
        format!(
            "net.ipv4.conf.all.rp_filter is {0}, so that rp_filter of the interface counts as {0} and not as the \
             {asked} that is asked for; set it to 0, or ask for rpFilter: Loose",
            shown.rp_filter
        )
    })
}

/// What gives the interface the settings that are wanted, and back those that are not.
fn settings(eni: &EniId, wanted: &Network, interface: &Interface, shown: &Shown) -> Vec<Change> {
    let change = |sysctl: Sysctl| {
        let now = *shown.sysctls.get(&sysctl)?;
        match (wanted.sysctls.get(&sysctl), shown.found.get(&sysctl)) {
            (Some(value), _) => (*value != now).then(|| Change::Set {
                eni: eni.clone(),
                interface: interface.name.clone(),
                sysctl,
                found: now,
                value: *value,
            }),
            (None, Some(found)) => Some(Change::Restore {
                eni: eni.clone(),
                interface: interface.name.clone(),
                sysctl,
                value: *found,
            }),
            (None, None) => None,
        }
    };
    Sysctl::ALL.into_iter().filter_map(change).collect()
}

fn routes(wanted: &Network, interface: IfIndex) -> Vec<Route> {
    let Some(table) = wanted.table else {
        return Vec::new();
    };
    let ways = wanted.ways.iter();
    ways.map(|way| Route {
        interface,
        table,
        destination: way.destination,
        gateway: way.gateway,
        source: way.source,
    })
    .collect()
}

fn ours(shown: &Shown, index: IfIndex) -> impl Iterator<Item = IpNet> {
    let addresses = shown.stack.addresses.iter();
    addresses
        .filter(move |one| one.interface == index && one.ours)
        .map(|one| one.address)
}

impl Change {
    /// The name in metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::AddName { .. } => "add_name",
            Self::RemoveName { .. } => "remove_name",
            Self::ForgetName { .. } => "forget_name",
            Self::Set { .. } => "set_sysctl",
            Self::Restore { .. } => "restore_sysctl",
            Self::Forget { .. } => "forget_sysctl",
            Self::AddAddress { .. } => "add_address",
            Self::RemoveAddress { .. } => "remove_address",
            Self::AddRoute(_) => "add_route",
            Self::RemoveRoute(_) => "remove_route",
            Self::AddRule(_) => "add_rule",
            Self::RemoveRule(_) => "remove_rule",
            Self::KeepSource(_) => "keep_source",
            Self::FreeSource(_) => "free_source",
            Self::Unmanage { .. } => "unmanage",
            Self::Manage { .. } => "manage",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddName {
                interface, name, ..
            } => write!(f, "name {interface} {name} as well"),
            Self::ForgetName { eni } => write!(f, "forget the name that {eni} was given"),
            Self::RemoveName {
                interface, name, ..
            } => write!(f, "take the name {name} off {interface}"),
            Self::Set {
                interface,
                sysctl,
                value,
                ..
            } => write!(f, "set {sysctl} of {interface} to {value}"),
            Self::Restore {
                interface,
                sysctl,
                value,
                ..
            } => write!(f, "give {interface} its {sysctl} {value} back"),
            Self::Forget { eni, sysctl } => {
                write!(f, "forget the {sysctl} that {eni} was found with")
            }
            Self::AddAddress {
                interface, address, ..
            } => write!(f, "give {interface} the address {address}"),
            Self::RemoveAddress {
                interface, address, ..
            } => write!(f, "take the address {address} off {interface}"),
            Self::AddRoute(route) => write!(f, "add {route}"),
            Self::RemoveRoute(route) => write!(f, "remove {route}"),
            Self::AddRule(rule) => write!(f, "add {rule}"),
            Self::RemoveRule(rule) => write!(f, "remove {rule}"),
            Self::KeepSource(one) => write!(f, "keep {one}"),
            Self::FreeSource(one) => write!(f, "no longer keep {one}"),
            Self::Unmanage { eni, .. } => write!(f, "tell systemd-networkd to leave {eni} alone"),
            Self::Manage { eni } => write!(f, "leave {eni} to systemd-networkd"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the route to {}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " by {gateway}")?;
        }
        write!(f, " in table {}", self.table)
    }
}

impl fmt::Display for KeptSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source, interface, ..
        } = self;
        write!(
            f,
            "the source {source} of what leaves by interface {interface}"
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rule from {} to table {}", self.source, self.table)
    }
}
