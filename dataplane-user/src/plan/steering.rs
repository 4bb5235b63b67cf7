//! Turns the steering rules that are asked for into those that can work on this interface.
//!
//! A rule that cannot is refused with the reason, and its packets go to the stack.

use std::collections::{BTreeMap, BTreeSet};

use eniway_api::{SteeringAction, SteeringKind, SteeringRule};

use crate::{
    bpf::{
        Mode, WantedIngress,
        steering::{Action, Rule},
    },
    netlink::{Channels, IfIndex, XdpFeatures},
};

/// What the node has for rules to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// The interfaces that rules name, if they are here.
    pub interfaces: BTreeMap<String, Target>,
    /// CPUs, also those that are off.
    pub cpus: u32,
}

/// An interface to which a rule redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub index: IfIndex,
    /// Absent before Linux 6.3.
    pub features: Option<XdpFeatures>,
}

/// Where the rules shall work.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where packets are checked.
    pub ingress: WantedIngress,
    pub mode: Mode,
    pub channels: Option<Channels>,
    pub targets: &'a Targets,
}

/// The rules in the words of the programs, as many as were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    pub rules: Vec<Rule>,
    pub refused: Vec<Refused>,
}

/// A rule that cannot work here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number, from 0.
    pub rule: usize,
    pub kind: SteeringKind,
    pub why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "steering rule {} ({:?}): {}",
            self.rule, self.kind, self.why
        )
    }
}

/// Decides about each rule.
#[must_use]
pub fn steering(asked: &[SteeringRule], place: Place<'_>) -> Steering {
    let mut steering = Steering::default();
    for (number, rule) in asked.iter().enumerate() {
        let action = action(&rule.action, place).unwrap_or_else(|why| {
            steering.refused.push(Refused {
                rule: number,
                kind: rule.action.r#type,
                why,
            });
            Action::Pass
        });
        let packets = &rule.r#match;
        let ranges =
            |ports: &[eniway_api::Ports]| ports.iter().map(|ports| ports.0.clone()).collect();
        steering.rules.push(Rule {
            source: packets.source,
            destination: packets.destination,
            protocol: packets.protocol.map(|protocol| protocol.0),
            source_ports: ranges(&packets.source_ports),
            destination_ports: ranges(&packets.destination_ports),
            action,
        });
    }
    steering
}

fn action(asked: &SteeringAction, place: Place<'_>) -> Result<Action, String> {
    if place.mode == Mode::Off {
        return Err(
            "with enforcement Off no packet is read; set it to Audit or Enforce".to_owned(),
        );
    }
    let action = match asked.r#type {
        SteeringKind::Pass => return Ok(Action::Pass),
        SteeringKind::Drop => return Ok(Action::Drop),
        SteeringKind::Redirect => Action::Redirect(target(asked, place.targets)?),
        SteeringKind::Cpu => Action::Cpu(cpus(asked, place.targets)?),
        SteeringKind::Socket => Action::Socket(queues(asked, place.channels)?),
    };
    if place.ingress == WantedIngress::Tc {
        return Err("it takes an XDP program, and packets are checked on TC here".to_owned());
    }
    Ok(action)
}

fn target(asked: &SteeringAction, targets: &Targets) -> Result<IfIndex, String> {
    let name = asked.interface.as_deref().unwrap_or_default();
    let Some(target) = targets.interfaces.get(name) else {
        return Err(format!("the node has no interface named {name:?}"));
    };
    match target.features {
        // The kernel would take such a redirect, and lose every packet.
        Some(features) if !features.has(XdpFeatures::NDO_XMIT) => Err(format!(
            "{name} takes no packets from XDP: its driver does not, or, of a veth, its other end has no \
             NAPI (`ethtool -K PEER gro on`)"
        )),
        Some(_) | None => Ok(target.index),
    }
}

fn cpus(asked: &SteeringAction, targets: &Targets) -> Result<Vec<u32>, String> {
    match asked.cpus.iter().find(|cpu| **cpu >= targets.cpus) {
        Some(cpu) => Err(format!(
            "there is no CPU {cpu}; the node has {}",
            targets.cpus
        )),
        None => Ok(asked.cpus.clone()),
    }
}

fn queues(asked: &SteeringAction, channels: Option<Channels>) -> Result<BTreeSet<u32>, String> {
    let there = channels.map(|channels| channels.current);
    match (asked.queues.iter().max(), there) {
        (Some(queue), Some(there)) if *queue >= there => Err(format!(
            "there is no receive queue {queue}; the interface has {there}"
        )),
        _ => Ok(asked.queues.iter().copied().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of one rule: why it is refused, or empty.
    fn refused(action: SteeringAction, ingress: WantedIngress, mode: Mode) -> String {
        let with = |index, bits| Target {
            index,
            features: Some(XdpFeatures(bits)),
        };
        let targets = Targets {
            interfaces: BTreeMap::from([
                ("eth2".to_owned(), with(2, XdpFeatures::NDO_XMIT)),
                ("veth".to_owned(), with(3, XdpFeatures::BASIC)),
            ]),
            cpus: 4,
        };
        let place = Place {
            ingress,
            mode,
            channels: Some(Channels { current: 2, max: 8 }),
            targets: &targets,
        };
        let rule = SteeringRule {
            action,
            ..SteeringRule::default()
        };
        let steering = steering(&[rule], place);
        assert_eq!(steering.rules.len(), 1);
        let told = steering
            .refused
            .iter()
            .map(ToString::to_string)
            .collect::<String>();
        assert_eq!(
            told.is_empty(),
            steering.rules[0].action != Action::Pass,
            "{told}"
        );
        told
    }

    fn to(kind: SteeringKind) -> SteeringAction {
        SteeringAction {
            r#type: kind,
            ..SteeringAction::default()
        }
    }

    fn redirect(interface: &str) -> SteeringAction {
        SteeringAction {
            interface: Some(interface.to_owned()),
            ..to(SteeringKind::Redirect)
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_reason() {
        let native = |action| refused(action, WantedIngress::XdpNative, Mode::Enforce);
        assert_eq!(native(to(SteeringKind::Drop)), "");
        assert_eq!(native(redirect("eth2")), "");
        assert_eq!(
            native(redirect("eth9")),
            "steering rule 0 (Redirect): the node has no interface named \"eth9\""
        );
        assert!(native(redirect("veth")).contains("veth takes no packets from XDP"));
        let cpus = |cpus: &[u32]| SteeringAction {
            cpus: cpus.to_vec(),
            ..to(SteeringKind::Cpu)
        };
        assert_eq!(native(cpus(&[0, 3])), "");
        assert!(native(cpus(&[0, 4])).ends_with("there is no CPU 4; the node has 4"));
        let queues = |queues: &[u32]| SteeringAction {
            queues: queues.to_vec(),
            ..to(SteeringKind::Socket)
        };
        assert_eq!(native(queues(&[0, 1])), "");
        assert!(native(queues(&[2])).ends_with("there is no receive queue 2; the interface has 2"));
    }

    #[test]
    fn tc_passes_and_drops_and_no_more() {
        let tc = |action| refused(action, WantedIngress::Tc, Mode::Audit);
        assert_eq!(tc(to(SteeringKind::Drop)), "");
        assert!(tc(redirect("eth2")).contains("packets are checked on TC here"));
    }

    #[test]
    fn without_a_check_nothing_is_steered() {
        let off = refused(to(SteeringKind::Drop), WantedIngress::XdpNative, Mode::Off);
        assert!(off.contains("set it to Audit or Enforce"), "{off}");
    }
}
