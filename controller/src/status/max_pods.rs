//! The condition that says on which nodes the kubelet allows more pods than get an address.

use eniway_api::conditions::{MAX_PODS, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{condition, node_eni::Situation};

/// Names the first node and what to set there, and counts the others.
pub(super) fn max_pods(situation: Situation<'_>, old: &[Condition]) -> Option<Condition> {
    let nodes = situation.nodes.values();
    let mut hints = nodes.filter_map(|node| node.max_pods.as_ref());
    let first = hints.next()?;
    let more = match hints.count() {
        0 => String::new(),
        more => format!(" ({more} more nodes need another number, too)"),
    };
    let interfaces = match first.taken {
        1 => "1 interface".to_owned(),
        taken => format!("{taken} interfaces"),
    };
    let message = format!(
        "the kubelet of node {} (a {}) allows {} pods, and beside {interfaces} of eniway the VPC CNI \
         has addresses for {}: start it with --max-pods={}, as Karpenter does with \
         --reserved-enis={}{more}",
        first.node, first.instance_type, first.allowed, first.fits, first.fits, first.taken
    );
    Some(condition(
        old,
        MAX_PODS,
        true,
        reason::FEWER_ADDRESSES_FOR_PODS,
        message,
        situation.node_eni.metadata.generation,
        situation.now,
    ))
}
