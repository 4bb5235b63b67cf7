//! Compares what a record asks for with what is ours on its interface, kind by kind.

use std::{collections::BTreeSet, net::Ipv4Addr};

use eniway_api::{AddressKind, Asked, Assigning, NodeEniAttachmentSpec};
use eniway_ec2::Eni;
use ipnet::IpNet;

/// The difference.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Balance {
    /// To be assigned.
    pub(super) missing: Asked,
    /// To be taken off.
    pub(super) off: BTreeSet<IpNet>,
    /// To be taken off once the pod no longer uses it; `None`: pods are not known.
    pub(super) kept: Vec<(IpNet, Option<String>)>,
    /// Asked for by name, and who has it.
    pub(super) taken: Vec<(Ipv4Addr, String)>,
}

/// All that the spec asks for.
pub(super) fn wanted(spec: &NodeEniAttachmentSpec) -> Asked {
    let (ipv4, ipv6) = (spec.ipv4.as_ref(), spec.ipv6.as_ref());
    Asked {
        addresses: ipv4.map(|ipv4| ipv4.addresses.clone()).unwrap_or_default(),
        secondary: ipv4.and_then(|ipv4| ipv4.secondary_count).unwrap_or(0),
        prefixes: ipv4.and_then(|ipv4| ipv4.prefix_count).unwrap_or(0),
        ipv6: ipv6.and_then(|ipv6| ipv6.address_count).unwrap_or(0),
        ipv6_prefixes: ipv6.and_then(|ipv6| ipv6.prefix_count).unwrap_or(0),
    }
}

/// What a new interface is asked to have. EC2 does not create one with both kinds of IPv6.
pub(super) fn at_creation(spec: &NodeEniAttachmentSpec, free: impl Fn(&Ipv4Addr) -> bool) -> Asked {
    let mut asked = wanted(spec);
    asked.addresses.retain(free);
    let ipv4 = one_call(&asked);
    if ipv4.ipv4_places() > 0 {
        asked = Asked {
            ipv6: asked.ipv6,
            ipv6_prefixes: asked.ipv6_prefixes,
            ..ipv4
        };
    }
    if asked.ipv6 > 0 {
        asked.ipv6_prefixes = 0;
    }
    asked
}

/// As much of it as one call asks for: EC2 takes one family, and one kind of IPv4.
pub(super) fn one_call(asked: &Asked) -> Asked {
    let mut one = Asked::default();
    if !asked.addresses.is_empty() {
        one.addresses.clone_from(&asked.addresses);
    } else if asked.secondary > 0 {
        one.secondary = asked.secondary;
    } else if asked.prefixes > 0 {
        one.prefixes = asked.prefixes;
    } else {
        one.ipv6 = asked.ipv6;
        one.ipv6_prefixes = asked.ipv6_prefixes;
    }
    one
}

/// Whether more is ours than is asked for.
pub(super) fn is_more_than_asked(spec: &NodeEniAttachmentSpec, ours: &BTreeSet<IpNet>) -> bool {
    let wanted = wanted(spec);
    let named: BTreeSet<IpNet> = wanted.addresses.iter().map(net).collect();
    kinds(spec, &wanted).into_iter().any(|(kind, count)| {
        let counted = |entry: &&IpNet| AddressKind::of(entry) == kind && !named.contains(*entry);
        ours.iter().filter(counted).count() > count
    })
}

/// The kinds that the spec is about, and how many it asks for without naming them.
fn kinds(spec: &NodeEniAttachmentSpec, wanted: &Asked) -> Vec<(AddressKind, usize)> {
    let ipv4 = [
        (AddressKind::Ipv4, wanted.secondary),
        (AddressKind::Ipv4Prefix, wanted.prefixes),
    ];
    let ipv6 = [
        (AddressKind::Ipv6, wanted.ipv6),
        (AddressKind::Ipv6Prefix, wanted.ipv6_prefixes),
    ];
    let ipv4 = ipv4.into_iter().filter(|_| spec.ipv4.is_some());
    let ipv6 = ipv6.into_iter().filter(|_| spec.ipv6.is_some());
    let kinds = ipv4.chain(ipv6);
    kinds
        .map(|(kind, count)| (kind, usize::try_from(count).unwrap_or(usize::MAX)))
        .collect()
}

/// What is to be done about the interface. `holder` names who has an address that it lacks, `pod` who
/// uses one (`None`: pods are not known).
pub(super) fn balance(
    spec: &NodeEniAttachmentSpec,
    eni: &Eni,
    ours: &BTreeSet<IpNet>,
    holder: impl Fn(&Ipv4Addr) -> Option<String>,
    pod: impl Fn(&IpNet) -> Option<Option<String>>,
) -> Balance {
    let wanted = wanted(spec);
    let mut balance = Balance::default();
    let named: BTreeSet<IpNet> = wanted.addresses.iter().map(net).collect();
    for address in &wanted.addresses {
        if eni.addresses.contains(&net(address)) {
            continue;
        }
        match holder(address) {
            None => balance.missing.addresses.push(*address),
            Some(holder) => balance.taken.push((*address, holder)),
        }
    }
    for (kind, count) in kinds(spec, &wanted) {
        let counted = |entry: &&IpNet| AddressKind::of(entry) == kind && !named.contains(*entry);
        // One that no read shows, and that may be there all the same, counts.
        let have = ours.iter().filter(counted).count();
        let lacks = u32::try_from(count.saturating_sub(have)).unwrap_or(u32::MAX);
        match kind {
            AddressKind::Ipv4 => balance.missing.secondary = lacks,
            AddressKind::Ipv4Prefix => balance.missing.prefixes = lacks,
            AddressKind::Ipv6 => balance.missing.ipv6 = lacks,
            AddressKind::Ipv6Prefix => balance.missing.ipv6_prefixes = lacks,
        }
        let mut surplus = have.saturating_sub(count);
        // The newest first.
        let there: Vec<_> = eni
            .secondary()
            .filter(|entry| ours.contains(*entry))
            .collect();
        let mut used = Vec::new();
        for entry in there.into_iter().rev().filter(counted) {
            if surplus == 0 {
                break;
            }
            match pod(entry) {
                Some(None) => {
                    balance.off.insert(*entry);
                    surplus -= 1;
                }
                Some(Some(pod)) => used.push((*entry, Some(pod))),
                None => used.push((*entry, None)),
            }
        }
        used.truncate(surplus);
        balance.kept.extend(used);
    }
    balance
}

/// Those of what is on the interface that an assignment brought: as many of each kind as it asked
/// for, or those that it named.
pub(super) fn claimed(begun: &Assigning, eni: &Eni) -> BTreeSet<IpNet> {
    let mut ours = BTreeSet::new();
    let asked = &begun.asked;
    let named: BTreeSet<IpNet> = asked.addresses.iter().map(net).collect();
    let new = || {
        eni.secondary()
            .filter(|entry| !begun.before.contains(entry))
    };
    ours.extend(new().filter(|entry| named.contains(*entry)));
    let counts = [
        (AddressKind::Ipv4, asked.secondary),
        (AddressKind::Ipv4Prefix, asked.prefixes),
        (AddressKind::Ipv6, asked.ipv6),
        (AddressKind::Ipv6Prefix, asked.ipv6_prefixes),
    ];
    for (kind, count) in counts {
        let of_kind = new().filter(|entry| AddressKind::of(entry) == kind);
        ours.extend(of_kind.take(usize::try_from(count).unwrap_or(usize::MAX)));
    }
    ours
}

fn net(address: &Ipv4Addr) -> IpNet {
    std::net::IpAddr::from(*address).into()
}
