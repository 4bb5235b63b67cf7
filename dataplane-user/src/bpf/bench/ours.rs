//! Our programs in the bench: what each is loaded with, what it runs on, and what it must answer.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::{ADDRESS, MAC, PORT, REPEAT, Run, XDP_DROP, XDP_PASS, expect, frame};
use crate::{
    bpf::{
        Error, GuardConfig, Mode,
        steering::{Action, Rule},
        trial::{Program, Trial},
    },
    capabilities::distrusted,
};

/// Whom the packets are for that a rule redirects.
pub const REDIRECTED: [u8; 4] = [10, 0, 1, 65];

/// linux/bpf.h.
const XDP_REDIRECT: u32 = 4;
/// TC_ACT_UNSPEC, linux/pkt_cls.h.
const NEXT: u32 = u32::MAX;

/// One of our programs, with what it is run on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours {
    pub(super) name: &'static str,
    program: Program,
    /// The ENI's.
    addresses: &'static [&'static str],
    /// Steering rules.
    rules: u16,
    /// None of the others matches.
    last: Last,
    /// Whom the packet is for.
    to: [u8; 4],
    /// What the program says of it.
    answer: u32,
    /// Whether who loads it has CAP_PERFMON.
    perfmon: bool,
}

/// What the last rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// It does not match either.
    Misses,
    Drops,
    Redirects,
}

const CHECK: Ours = Ours {
    name: "eni_ingress, one address",
    program: Program::IngressXdp,
    addresses: &["10.0.1.10/32"],
    rules: 0,
    last: Last::Misses,
    to: ADDRESS,
    answer: XDP_PASS,
    perfmon: true,
};

/// What runs on every kernel from 5.18 on, which can be asked how long a packet is.
const FRAGS: bool = true;

const REDIRECTS: Ours = Ours {
    name: "… and 1 rule, which redirects to another interface",
    addresses: &["10.0.1.65/32"],
    rules: 1,
    last: Last::Redirects,
    to: REDIRECTED,
    answer: XDP_REDIRECT,
    ..CHECK
};

pub(super) const OURS: &[Ours] = &[
    CHECK,
    Ours {
        name: "eni_ingress, primary address of three",
        addresses: &["10.0.1.10/32", "10.0.1.11/32", "10.0.1.64/28"],
        ..CHECK
    },
    Ours {
        name: "eni_ingress, another address of three",
        addresses: &["10.0.1.11/32", "10.0.1.10/32", "10.0.1.64/28"],
        ..CHECK
    },
    Ours {
        name: "eni_ingress, another's address: dropped and counted",
        to: [10, 0, 1, 99],
        answer: XDP_DROP,
        ..CHECK
    },
    Ours {
        name: "… and 1 rule that does not match",
        rules: 1,
        ..CHECK
    },
    Ours {
        name: "… and 100 rules",
        rules: 100,
        ..CHECK
    },
    Ours {
        name: "… and 1,000 rules",
        rules: 1000,
        ..CHECK
    },
    Ours {
        name: "… and 1,000 rules, of which the last drops",
        rules: 1000,
        last: Last::Drops,
        answer: XDP_DROP,
        ..CHECK
    },
    REDIRECTS,
    Ours {
        name: "… and 1,000 rules, of which the last redirects",
        rules: 1000,
        ..REDIRECTS
    },
    Ours {
        name: "eni_ingress_tc, one address",
        program: Program::IngressTc,
        answer: NEXT,
        ..CHECK
    },
    Ours {
        name: "eni_to_pod, for no pod",
        program: Program::ToPod,
        answer: NEXT,
        ..CHECK
    },
    Ours {
        name: "eni_ingress, one address, loaded without CAP_PERFMON",
        perfmon: false,
        ..CHECK
    },
    Ours {
        name: "… and 1,000 rules",
        rules: 1000,
        perfmon: false,
        ..CHECK
    },
];

/// Packets of one call that are redirected: each takes one from the time to live of the same frame, which is 255. The
/// first ones of a call are slower, and so few do not hide it: the check alone takes 17 ns more by such calls.
const REDIRECTS_REPEAT: u32 = 200;

impl Ours {
    /// Loads the program; rules that redirect do so to `interface`.
    pub(super) fn load(self, interface: u32) -> Result<Run, Error> {
        let redirects = self.last == Last::Redirects;
        let config = config(self.addresses);
        let rules = self.rules(interface);
        let repeat = if redirects { REDIRECTS_REPEAT } else { REPEAT };
        let frame = frame(self.to);
        // It is loaded when it is first run.
        let load = || {
            let mut trial = Trial::steering(FRAGS, &config, &rules)?;
            if redirects {
                trial.allow(interface)?;
            }
            trial.answer(self.program, &frame, 1).map(|_| trial)
        };
        let mut trial = if self.perfmon {
            load()
        } else {
            distrusted(load)
        }?;
        Ok(Box::new(move || {
            let (answer, duration) = trial.answer(self.program, &frame, repeat)?;
            expect(self.name, self.answer, answer)?;
            Ok(duration)
        }))
    }

    /// Those but the last do not match the packet, though only a look at everything tells.
    fn rules(&self, interface: u32) -> Vec<Rule> {
        let rule = |number: u16| Rule {
            source: Some(IpNet::new(source(number.into()).into(), 32).expect("32 bits")),
            destination: None,
            protocol: Some(17),
            source_ports: Vec::new(),
            destination_ports: vec![8000 + number..=8000 + number],
            action: Action::Drop,
        };
        let mut rules: Vec<Rule> = (0..self.rules).map(rule).collect();
        if let (Last::Drops | Last::Redirects, Some(last)) = (self.last, rules.last_mut()) {
            last.source = None;
            last.destination_ports = vec![PORT..=PORT];
        }
        if let (Last::Redirects, Some(last)) = (self.last, rules.last_mut()) {
            last.action = Action::Redirect(interface);
        }
        rules
    }
}

/// The source of a rule, which is not the packet's.
pub(super) fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 0).to_bits() + number)
}

fn config(addresses: &[&str]) -> GuardConfig {
    let parse = |net: &str| net.parse().expect("written here");
    GuardConfig {
        mac: MAC,
        mode: Mode::Enforce,
        source_dest_check: true,
        addresses: addresses.iter().map(|net| parse(net)).collect(),
        subnets: vec![parse("10.0.1.0/24")],
    }
}
