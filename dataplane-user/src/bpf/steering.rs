//! Compiles steering rules into the classes of the maps. Pure.
//!
//! Bit vectors (Lakshman and Stiliadis, SIGCOMM 1998): for each thing that rules look at, every value
//! that a rule could tell from others gets the set of rules that say nothing against it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
};

use eniway_abi::steering::{self as abi, PORT_ENTRIES, PORTS_PER_ENTRY, Rules, kind, looks};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// One rule: what it matches, and what becomes of that. The first one that matches counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// `None`: any.
    pub source: Option<IpNet>,
    /// `None`: any.
    pub destination: Option<IpNet>,
    /// A protocol number of IANA; `None`: any.
    pub protocol: Option<u8>,
    /// Of TCP, UDP and SCTP. Empty: any, and also packets without ports.
    pub source_ports: Vec<RangeInclusive<u16>>,
    /// As `source_ports`.
    pub destination_ports: Vec<RangeInclusive<u16>>,
    /// What becomes of a packet that matches.
    pub action: Action,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To the stack.
    Pass,
    /// It ends here.
    Drop,
    /// Out of the interface with this index, as the routing table says.
    Redirect(u32),
    /// To the stack on one of these CPUs.
    Cpu(Vec<u32>),
    /// To the AF_XDP sockets of these receive queues, below 64.
    Socket(BTreeSet<u32>),
}

/// The classes of addresses, of one family.
pub type Prefixes<N> = BTreeMap<N, u32>;

/// What the maps of one set of rules hold.
#[derive(Debug, Default)]
pub struct Tables {
    /// Bits of [`looks`].
    pub looks: u32,
    pub source4: Prefixes<Ipv4Net>,
    pub source6: Prefixes<Ipv6Net>,
    pub destination4: Prefixes<Ipv4Net>,
    pub destination6: Prefixes<Ipv6Net>,
    pub protocols: BTreeMap<u8, u32>,
    /// Entry and its classes, without the entries that are zero.
    pub source_ports: BTreeMap<u32, u64>,
    pub destination_ports: BTreeMap<u32, u64>,
    /// By number; 0 is none.
    pub classes: Vec<Rules>,
    pub actions: Vec<abi::Action>,
    pub cpus: Vec<u32>,
}

/// Sets of rules that have a number.
struct Classes {
    sets: Vec<Rules>,
    numbers: HashMap<Rules, u32>,
}

impl Classes {
    fn number(&mut self, set: Rules) -> u32 {
        *self.numbers.entry(set).or_insert_with(|| {
            self.sets.push(set);
            u32::try_from(self.sets.len() - 1).expect("some thousands")
        })
    }
}

/// Compiles at most [`RULES`](abi::RULES) rules; those beyond are left out.
pub fn compile(rules: &[Rule]) -> Tables {
    let rules = &rules[..rules.len().min(abi::RULES as usize)];
    if rules.is_empty() {
        return Tables::default();
    }
    // In the order of `unnamed`, behind class 0, which is none.
    let sets = vec![
        Rules::default(),
        set(rules, |rule| rule.source.is_none()),
        set(rules, |rule| rule.destination.is_none()),
        set(rules, |rule| rule.protocol.is_none()),
        set(rules, |rule| rule.source_ports.is_empty()),
        set(rules, |rule| rule.destination_ports.is_empty()),
    ];
    let mut classes = Classes {
        sets,
        numbers: HashMap::new(),
    };
    let mut tables = Tables {
        looks: look(rules),
        source4: prefixes(
            rules,
            &mut classes,
            |rule| v4(rule.source?),
            |rule| rule.source.is_none(),
        ),
        source6: prefixes(
            rules,
            &mut classes,
            |rule| v6(rule.source?),
            |rule| rule.source.is_none(),
        ),
        destination4: prefixes(
            rules,
            &mut classes,
            |rule| v4(rule.destination?),
            |rule| rule.destination.is_none(),
        ),
        destination6: prefixes(
            rules,
            &mut classes,
            |rule| v6(rule.destination?),
            |rule| rule.destination.is_none(),
        ),
        protocols: protocols(rules, &mut classes),
        source_ports: ports(rules, &mut classes, |rule| &rule.source_ports),
        destination_ports: ports(rules, &mut classes, |rule| &rule.destination_ports),
        ..Tables::default()
    };
    tables.classes = classes.sets;
    for (number, rule) in (0..).zip(rules) {
        let action = action(&rule.action, &mut tables.cpus);
        tables.actions.push(abi::Action {
            rule: number,
            ..action
        });
    }
    tables
}

/// What rules look at.
fn look(rules: &[Rule]) -> u32 {
    let any = |asks: fn(&Rule) -> bool, bit| if rules.iter().any(asks) { bit } else { 0 };
    looks::RULES
        | any(|rule| rule.source.is_some(), looks::SOURCE)
        | any(|rule| rule.destination.is_some(), looks::DESTINATION)
        | any(|rule| rule.protocol.is_some(), looks::PROTOCOL)
        | any(|rule| !rule.source_ports.is_empty(), looks::SOURCE_PORT)
        | any(
            |rule| !rule.destination_ports.is_empty(),
            looks::DESTINATION_PORT,
        )
}

/// The rules of which `holds` is true.
fn set(rules: &[Rule], holds: impl Fn(&Rule) -> bool) -> Rules {
    let mut set = Rules::default();
    for (number, rule) in rules.iter().enumerate() {
        if holds(rule) {
            set.insert(number);
        }
    }
    set
}

fn v4(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net.trunc()),
        IpNet::V6(_) => None,
    }
}

fn v6(net: IpNet) -> Option<Ipv6Net> {
    match net {
        IpNet::V6(net) => Some(net.trunc()),
        IpNet::V4(_) => None,
    }
}

/// A prefix of one family.
trait Net: Copy + Ord {
    fn holds(&self, other: &Self) -> bool;
}

impl Net for Ipv4Net {
    fn holds(&self, other: &Self) -> bool {
        self.contains(other)
    }
}

impl Net for Ipv6Net {
    fn holds(&self, other: &Self) -> bool {
        self.contains(other)
    }
}

/// The longest prefix of an address tells of all rules whose prefix is as long or shorter.
fn prefixes<N: Net>(
    rules: &[Rule],
    classes: &mut Classes,
    net: impl Fn(&Rule) -> Option<N>,
    any: impl Fn(&Rule) -> bool,
) -> Prefixes<N> {
    let nets: BTreeSet<N> = rules.iter().filter_map(&net).collect();
    let class = |one: N| {
        let holds = |rule: &Rule| any(rule) || net(rule).is_some_and(|net| net.holds(&one));
        (one, classes.number(set(rules, holds)))
    };
    nets.into_iter().map(class).collect()
}

fn protocols(rules: &[Rule], classes: &mut Classes) -> BTreeMap<u8, u32> {
    let named: BTreeSet<u8> = rules.iter().filter_map(|rule| rule.protocol).collect();
    let class = |one: u8| {
        let holds = |rule: &Rule| rule.protocol.is_none_or(|protocol| protocol == one);
        (one, classes.number(set(rules, holds)))
    };
    named.into_iter().map(class).collect()
}

/// Between two ports where some range begins or ends, all ports are in one class.
fn ports(
    rules: &[Rule],
    classes: &mut Classes,
    ranges: impl Fn(&Rule) -> &Vec<RangeInclusive<u16>>,
) -> BTreeMap<u32, u64> {
    let mut starts = BTreeSet::new();
    for range in rules.iter().flat_map(&ranges) {
        starts.insert(u32::from(*range.start()));
        starts.insert(u32::from(*range.end()) + 1);
    }
    let starts: Vec<u32> = starts.into_iter().collect();
    let mut entries = BTreeMap::new();
    for pair in starts.windows(2) {
        let named = |rule: &Rule| {
            let mut ranges = ranges(rule).iter();
            ranges.any(|range| {
                (u32::from(*range.start())..=u32::from(*range.end())).contains(&pair[0])
            })
        };
        if !rules.iter().any(named) {
            continue;
        }
        let class = classes.number(set(rules, |rule| ranges(rule).is_empty() || named(rule)));
        for port in pair[0]..pair[1] {
            let entry: &mut u64 = entries.entry(port / PORTS_PER_ENTRY).or_default();
            *entry |= u64::from(class) << (port % PORTS_PER_ENTRY * 16);
        }
    }
    debug_assert!(entries.keys().all(|entry| *entry < PORT_ENTRIES));
    entries
}

fn action(action: &Action, cpus: &mut Vec<u32>) -> abi::Action {
    let of = |kind| abi::Action {
        kind,
        ..abi::Action::default()
    };
    let length = |list: &[u32]| u32::try_from(list.len()).expect("a machine has fewer CPUs");
    match action {
        Action::Pass => of(kind::PASS),
        Action::Drop => of(kind::DROP),
        Action::Redirect(interface) => abi::Action {
            value: *interface,
            ..of(kind::REDIRECT)
        },
        Action::Cpu(chosen) => {
            let value = length(cpus);
            cpus.extend(chosen);
            abi::Action {
                value,
                count: length(chosen),
                ..of(kind::CPU)
            }
        }
        Action::Socket(queues) => abi::Action {
            queues: queues.iter().fold(0, |bits, queue| {
                bits | 1_u64.checked_shl(*queue).unwrap_or(0)
            }),
            ..of(kind::SOCKET)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(source: Option<&str>, ports: &[RangeInclusive<u16>], action: Action) -> Rule {
        Rule {
            source: source.map(|net| net.parse().unwrap()),
            destination: None,
            protocol: None,
            source_ports: Vec::new(),
            destination_ports: ports.to_vec(),
            action,
        }
    }

    #[test]
    fn no_rules_are_no_tables() {
        assert_eq!(compile(&[]).looks, 0);
        assert!(compile(&[]).classes.is_empty());
    }

    #[test]
    fn a_longer_prefix_has_the_rules_of_the_shorter_ones() {
        let rules = [
            rule(Some("10.0.0.0/8"), &[], Action::Pass),
            rule(Some("10.1.0.0/16"), &[], Action::Drop),
            rule(Some("2001:db8::/32"), &[], Action::Drop),
            rule(None, &[], Action::Pass),
        ];
        let tables = compile(&rules);
        assert_eq!(tables.looks, looks::RULES | looks::SOURCE);
        let sets = |class: &u32| tables.classes[*class as usize].words[0];
        let sets4: Vec<_> = tables.source4.values().map(sets).collect();
        assert_eq!(sets4, [0b1001, 0b1011]);
        let sets6: Vec<_> = tables.source6.values().map(sets).collect();
        assert_eq!(sets6, [0b1100]);
        assert_eq!(sets(&abi::unnamed::SOURCE), 0b1000);
    }

    #[test]
    fn ports_that_no_rule_tells_apart_share_a_class() {
        let rules = [
            rule(None, &[80..=80, 8000..=8999], Action::Drop),
            rule(None, &[8500..=u16::MAX], Action::Drop),
        ];
        let tables = compile(&rules);
        let class = |port: u32| {
            let entry = tables
                .destination_ports
                .get(&(port / 4))
                .copied()
                .unwrap_or(0);
            let class = usize::try_from(entry >> (port % 4 * 16) & 0xffff).unwrap();
            tables.classes[class].words[0]
        };
        assert_eq!([80, 81, 8000, 8499].map(class), [0b01, 0, 0b01, 0b01]);
        assert_eq!(
            [8500, 8999, 9000, 65535].map(class),
            [0b11, 0b11, 0b10, 0b10]
        );
        // Six that are always there, and three sets of ports.
        assert_eq!(tables.classes.len(), 9);
    }

    #[test]
    fn cpus_and_queues_find_their_way_into_the_actions() {
        let rules = [
            rule(None, &[], Action::Cpu(vec![2, 3])),
            rule(None, &[], Action::Cpu(vec![1])),
            rule(None, &[], Action::Socket(BTreeSet::from([0, 5]))),
            rule(None, &[], Action::Redirect(7)),
        ];
        let tables = compile(&rules);
        assert_eq!(tables.cpus, [2, 3, 1]);
        let actions = tables.actions.iter();
        let said: Vec<_> = actions
            .map(|one| (one.rule, one.kind, one.value, one.count, one.queues))
            .collect();
        assert_eq!(
            said,
            [
                (0, kind::CPU, 0, 2, 0),
                (1, kind::CPU, 2, 1, 0),
                (2, kind::SOCKET, 0, 0, 0b10_0001),
                (3, kind::REDIRECT, 7, 0, 0),
            ]
        );
    }
}
