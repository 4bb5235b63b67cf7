//! Steering rules in a plan: what changes them loads the programs anew, and nothing else does.

use eniway_api::{SteeringAction, SteeringKind, SteeringRule};

use super::*;
use crate::plan::steering::Target;

fn redirect(interface: &str) -> SteeringRule {
    SteeringRule {
        action: SteeringAction {
            r#type: SteeringKind::Redirect,
            interface: Some(interface.to_owned()),
            ..SteeringAction::default()
        },
        ..SteeringRule::default()
    }
}

fn wish(steering: Vec<SteeringRule>) -> Wish {
    Wish::Provide(Desired {
        steering,
        ..desired(WantedIngress::XdpNative, Mode::Enforce)
    })
}

#[test]
fn changed_rules_are_loaded_and_the_same_ones_are_not() {
    let mut kernel = Kernel::plugged(3, true);
    let drop = SteeringRule {
        action: SteeringAction {
            r#type: SteeringKind::Drop,
            ..SteeringAction::default()
        },
        ..SteeringRule::default()
    };
    let steered = wish(vec![drop]);
    let loads = "guard ens6 for eni-1 (XdpNative, Enforce, 1 steering rules)\n";
    assert_eq!(kernel.converge(&steered), loads);
    assert_eq!(kernel.converge(&steered), "");
    let anew = "guard ens6 for eni-1 (XdpNative, Enforce)\n";
    assert_eq!(kernel.converge(&wish(Vec::new())), anew);
    // After a restart nobody knows which rules the programs have.
    kernel.converge(&steered);
    kernel.restart();
    assert_eq!(kernel.converge(&steered), loads);
}

#[test]
fn a_rule_works_as_soon_as_its_interface_comes() {
    let mut kernel = Kernel::plugged(3, true);
    let steered = wish(vec![redirect("eth9")]);
    kernel.converge(&steered);
    let rules = |kernel: &Kernel| kernel.in_force.clone().unwrap().steering;
    assert_eq!(rules(&kernel)[0].action, bpf::steering::Action::Pass);
    let target = Target {
        index: 9,
        features: None,
    };
    kernel.targets.interfaces.insert("eth9".to_owned(), target);
    assert_ne!(kernel.converge(&steered), "");
    assert_eq!(rules(&kernel)[0].action, bpf::steering::Action::Redirect(9));
    kernel.targets.interfaces.clear();
    assert_ne!(kernel.converge(&steered), "", "its number may be another's");
    assert_eq!(rules(&kernel)[0].action, bpf::steering::Action::Pass);
}

#[test]
fn in_a_pod_rules_change_too_but_lead_to_no_interface() {
    let mut kernel = Kernel::plugged(3, true);
    let target = Target {
        index: 9,
        features: None,
    };
    kernel.targets.interfaces.insert("eth9".to_owned(), target);
    kernel.converge(&wish(vec![redirect("eth9")]));
    kernel.presence = Presence::Absent;
    let replaced =
        "replace the guard of eni-1 in its pod (Enforce, 0 addresses, 1 steering rules)\n";
    assert_eq!(kernel.converge(&wish(vec![redirect("eth9")])), replaced);
    let rules = |kernel: &Kernel| kernel.in_force.clone().unwrap().steering;
    assert_eq!(rules(&kernel)[0].action, bpf::steering::Action::Pass);
    let none = "replace the guard of eni-1 in its pod (Enforce, 0 addresses, 0 steering rules)\n";
    assert_eq!(kernel.converge(&wish(Vec::new())), none);
    assert_eq!(kernel.converge(&wish(Vec::new())), "");
}
