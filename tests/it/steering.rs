//! The first steering rule that a packet matches is the same on the host, in the kernel, and by a slow
//! search that reads the rules as a person does. Needs root.

mod live;

use std::{collections::BTreeSet, ops::RangeInclusive};

use eniway_agent::bpf::{
    Mode, Outcome, Reason,
    steering::{Action, Rule, Tables, compile},
    trial::{Program, Trial},
};
use eniway_ebpf::{
    fixtures::{self, Generator},
    steering::first_match,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::guard;

/// The compiled rules, searched as the maps are.
struct Host<'a>(&'a Tables);

impl eniway_ebpf::steering::Tables for Host<'_> {
    fn source4(&self, address: [u8; 4]) -> u32 {
        longest(&self.0.source4, |net: &Ipv4Net| {
            net.contains(&std::net::Ipv4Addr::from(address))
        })
    }

    fn source6(&self, address: [u8; 16]) -> u32 {
        longest(&self.0.source6, |net: &Ipv6Net| {
            net.contains(&std::net::Ipv6Addr::from(address))
        })
    }

    fn destination4(&self, address: [u8; 4]) -> u32 {
        longest(&self.0.destination4, |net: &Ipv4Net| {
            net.contains(&std::net::Ipv4Addr::from(address))
        })
    }

    fn destination6(&self, address: [u8; 16]) -> u32 {
        longest(&self.0.destination6, |net: &Ipv6Net| {
            net.contains(&std::net::Ipv6Addr::from(address))
        })
    }

    fn protocol(&self, protocol: u8) -> u32 {
        self.0.protocols.get(&protocol).copied().unwrap_or(0)
    }

    fn source_port(&self, port: u16) -> u32 {
        class(&self.0.source_ports, port)
    }

    fn destination_port(&self, port: u16) -> u32 {
        class(&self.0.destination_ports, port)
    }

    fn class(&self, class: u32) -> Option<&eniway_abi::steering::Rules> {
        self.0.classes.get(class as usize)
    }
}

/// Of those that hold the address the last one in order is the longest.
fn longest<N>(nets: &std::collections::BTreeMap<N, u32>, holds: impl Fn(&N) -> bool) -> u32
where
    N: Copy + Into<IpNet>,
{
    let found = nets.iter().filter(|(net, _)| holds(net));
    let longest = found.max_by_key(|(net, _)| (**net).into().prefix_len());
    longest.map_or(0, |(_, class)| *class)
}

fn class(entries: &std::collections::BTreeMap<u32, u64>, port: u16) -> u32 {
    let entry = entries.get(&(u32::from(port) / 4)).copied().unwrap_or(0);
    u32::try_from(entry >> (u32::from(port) % 4 * 16) & 0xffff).unwrap()
}

/// What a person reads off a frame.
#[derive(Debug)]
struct Seen {
    source: std::net::IpAddr,
    destination: std::net::IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
}

/// `None` of what is no whole IP packet to one host.
fn see(frame: &[u8]) -> Option<Seen> {
    let at = |offset: usize, length: usize| frame.get(offset..offset + length);
    let word = |offset| Some(u16::from_be_bytes(at(offset, 2)?.try_into().ok()?));
    if at(0, 14)?[0] & 1 == 1 {
        return None;
    }
    let (source, destination, protocol, ports) = match word(12)? {
        0x0800 => {
            let header = at(14, 20)?;
            let length = usize::from(header[0] & 15) * 4;
            let total = usize::from(word(16)?);
            let is_whole = header[0] >> 4 == 4 && length >= 20 && total >= length;
            if !is_whole || 14 + total > frame.len() {
                return None;
            }
            let net = |offset| -> [u8; 4] { at(offset, 4).unwrap().try_into().unwrap() };
            let is_fragment = word(20)? & 0x3fff != 0;
            let ports = (length == 20 && !is_fragment).then_some(34);
            (net(26).into(), net(30).into(), header[9], ports)
        }
        0x86dd => {
            let header = at(14, 40)?;
            if header[0] >> 4 != 6 || 54 + usize::from(word(18)?) > frame.len() {
                return None;
            }
            let net = |offset| -> [u8; 16] { at(offset, 16).unwrap().try_into().unwrap() };
            let behind = at(54, 1).map(|next| next[0]);
            let protocol = match (header[6], behind) {
                (44, Some(next)) => next,
                (next, _) => next,
            };
            let ports = (header[6] != 44).then_some(54);
            (net(22).into(), net(38).into(), protocol, ports)
        }
        _ => return None,
    };
    let ports = ports.filter(|_| [6, 17, 132].contains(&protocol));
    let ports = ports.and_then(|at| Some((word(at)?, word(at + 2)?)));
    Some(Seen {
        source,
        destination,
        protocol,
        ports,
    })
}

fn first_by_hand(rules: &[Rule], frame: &[u8]) -> Option<usize> {
    let seen = see(frame)?;
    let among = |ranges: &[RangeInclusive<u16>], port: Option<u16>| {
        ranges.is_empty()
            || port.is_some_and(|port| ranges.iter().any(|range| range.contains(&port)))
    };
    rules.iter().position(|rule| {
        rule.source.is_none_or(|net| net.contains(&seen.source))
            && rule
                .destination
                .is_none_or(|net| net.contains(&seen.destination))
            && rule
                .protocol
                .is_none_or(|protocol| protocol == seen.protocol)
            && among(&rule.source_ports, seen.ports.map(|ports| ports.0))
            && among(&rule.destination_ports, seen.ports.map(|ports| ports.1))
    })
}

/// Rules near what the generator makes.
fn rules(dice: &mut fastrand::Rng, count: usize) -> Vec<Rule> {
    let nets = [
        "10.0.9.9/32",
        "10.0.9.0/24",
        "10.0.0.0/8",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "0.0.0.0/0",
        "10.0.1.10/32",
        "10.0.1.64/28",
        "10.0.1.0/24",
        "::/0",
        "2600:1f14::/32",
        "2600:1f14::9/128",
        "2600:1f14:0:1::/64",
        "2600:1f14:0:1:abcd::/80",
        "fec0::/10",
        "2600:1f14:0:1::10/128",
    ];
    let net = |dice: &mut fastrand::Rng| -> Option<IpNet> {
        let net: IpNet = dice.choice(nets).unwrap().parse().unwrap();
        let length = if dice.u8(..4) == 0 {
            dice.u8(..=net.max_prefix_len())
        } else {
            net.prefix_len()
        };
        (dice.u8(..3) > 0).then(|| IpNet::new(net.addr(), length).unwrap().trunc())
    };
    let ports = |dice: &mut fastrand::Rng| -> Vec<RangeInclusive<u16>> {
        let some = if dice.u8(..3) == 0 {
            dice.usize(1..4)
        } else {
            0
        };
        let near = [67, 68, 546, 547, 53, 5000, 0, u16::MAX];
        let range = |dice: &mut fastrand::Rng| {
            let start = *dice.choice(&near).unwrap();
            start..=start.saturating_add(if dice.bool() { 0 } else { dice.u16(..600) })
        };
        (0..some).map(|_| range(dice)).collect()
    };
    let rule = |_| Rule {
        source: net(dice),
        destination: net(dice),
        protocol: (dice.u8(..3) == 0).then(|| *dice.choice(&[6, 17, 1, 58, 44, 0]).unwrap()),
        source_ports: ports(dice),
        destination_ports: ports(dice),
        action: if dice.bool() {
            Action::Drop
        } else {
            Action::Pass
        },
    };
    (0..count).map(rule).collect()
}

/// A rule for all packets.
pub(crate) fn any(action: Action) -> Rule {
    Rule {
        source: None,
        destination: None,
        protocol: None,
        source_ports: Vec::new(),
        destination_ports: Vec::new(),
        action,
    }
}

/// Rules of every kind, that look at everything.
pub(crate) fn all_kinds() -> Vec<Rule> {
    let kinds = [
        Action::Pass,
        Action::Drop,
        Action::Redirect(1),
        Action::Cpu(vec![0]),
        Action::Socket(BTreeSet::from([0])),
    ];
    let rule = |action| Rule {
        source: Some("192.0.2.0/24".parse().unwrap()),
        destination: Some("2001:db8::/32".parse().unwrap()),
        protocol: Some(6),
        source_ports: vec![1024..=u16::MAX],
        destination_ports: vec![80..=80],
        action,
    };
    kinds.map(rule).to_vec()
}

#[test]
fn host_kernel_and_model_find_the_same_rule() {
    const PROGRAMS: [(bool, Program); 3] = [
        (false, Program::IngressXdp),
        (true, Program::IngressXdp),
        (true, Program::IngressTc),
    ];
    let mut steered_in_all = 0;
    for (seed, (count, frames)) in
        (0..).zip([(1, 3000), (3, 3000), (60, 4000), (1024, 4000), (1024, 4000)])
    {
        let mut dice = fastrand::Rng::with_seed(seed);
        let rules = rules(&mut dice, count);
        let tables = compile(&rules);
        for (frags, program) in PROGRAMS {
            let config = guard::config(Mode::Enforce, seed % 2 == 0);
            let mut trial = Trial::steering(frags, &config, &rules).unwrap();
            let mut expected = vec![0; rules.len()];
            for frame in Generator::new(seed).take(frames) {
                if !guard::is_runnable(program, &frame) {
                    continue;
                }
                let what = format!("seed {seed}, {program:?}, {frame:02x?}");
                let by_hand = first_by_hand(&rules, &frame);
                let on_host = first_match(frame.as_slice(), &Host(&tables), tables.looks);
                assert_eq!(on_host.map(|rule| rule as usize), by_hand, "{what}");
                let before = fixtures::config(seed % 2 == 0);
                let verdict =
                    eniway_ebpf::guard::ingress(frame.as_slice(), &fixtures::Own, &before);
                let steered = by_hand.filter(|_| verdict.reason == Reason::Passed);
                let (is_drop, _) = trial.judge(program, &frame, 1).unwrap();
                let dropped = steered.is_some_and(|rule| rules[rule].action == Action::Drop);
                assert_eq!(is_drop, dropped || verdict.is_drop(), "{what}");
                if let Some(rule) = steered {
                    expected[rule] += 1;
                }
            }
            assert_eq!(trial.hits().unwrap(), expected, "seed {seed}, {program:?}");
            steered_in_all += expected.iter().sum::<u64>();
            let drops: u64 = std::iter::zip(&rules, &expected)
                .filter(|(rule, _)| rule.action == Action::Drop)
                .map(|(_, hits)| hits)
                .sum();
            let counted = trial
                .counts()
                .unwrap()
                .into_iter()
                .find(|count| count.reason == Reason::Steering);
            assert_eq!(counted.map_or(0, |count| count.packets), drops);
            assert!(counted.is_none_or(|count| count.outcome == Outcome::Dropped));
        }
    }
    assert!(steered_in_all > 1_500, "{steered_in_all} prove little");
}

#[test]
fn without_check_there_is_no_steering() {
    let drop = any(Action::Drop);
    let frame = &fixtures::all()[0].frame;
    for (mode, dropped) in [
        (Mode::Enforce, true),
        (Mode::Audit, true),
        (Mode::Off, false),
    ] {
        let mut trial = Trial::steering(
            true,
            &guard::config(mode, true),
            std::slice::from_ref(&drop),
        )
        .unwrap();
        let (is_drop, _) = trial.judge(Program::IngressXdp, frame, 1).unwrap();
        assert_eq!(is_drop, dropped, "{mode:?}");
    }
}

#[test]
fn cpus_and_sockets_that_are_not_there_leave_the_packet_to_the_stack() {
    let frame = &fixtures::all()[0].frame;
    for action in [Action::Socket(BTreeSet::from([0, 63])), Action::Redirect(1)] {
        let rules = [any(action)];
        let mut trial = Trial::steering(true, &guard::config(Mode::Enforce, true), &rules).unwrap();
        let (is_drop, _) = trial.judge(Program::IngressXdp, frame, 1).unwrap();
        assert!(!is_drop);
        assert_eq!(trial.hits().unwrap(), [1]);
    }
}
