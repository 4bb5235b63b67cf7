//! Says where a kubelet allows more pods than the VPC CNI has addresses for, now that eniway has taken
//! interfaces from it.
//!
//! Pure. The VPC CNI gives each pod an address of an interface of its own on the first network card, and
//! its users set the kubelet's limit by (interfaces × (addresses of each − 1) + 2)
//! (docs.aws.amazon.com/eks/latest/userguide/choosing-instance-type.html). A limit that is higher follows
//! another rule, as with prefixes or another CNI, and says nothing about interfaces.

use eniway_ec2::InstanceType;

use super::{Desired, Inputs, Node};

/// A node on which pods will wait for addresses that do not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPods {
    pub node: String,
    pub instance_type: String,
    /// Interfaces of eniway's on the first network card.
    pub taken: u32,
    /// Pods that the kubelet allows.
    pub allowed: u32,
    /// Pods that get an address.
    pub fits: u32,
}

/// How many pods get an address of so many interfaces; two live in the node's own network.
fn pods(interfaces: u32, limits: &InstanceType) -> u32 {
    interfaces * u32::from(limits.ipv4_addresses).saturating_sub(1) + 2
}

/// The hint for the inputs' node, if it needs one.
pub(super) fn hint(desired: &Desired, inputs: Inputs<'_>) -> Option<MaxPods> {
    let node = inputs.node?;
    let allowed = node.max_pods?;
    let instance = inputs.snapshot.instance(Node::instance(node)?)?;
    let limits = inputs.snapshot.limits(&instance.instance_type)?;
    let all = u32::from(*limits.cards.first()?);
    let wishes = desired.wishes.iter();
    let taken = wishes
        .filter(|wish| wish.spec.network_card_index == 0)
        .count();
    let taken = u32::try_from(taken).unwrap_or(u32::MAX);
    if limits.ipv4_addresses == u16::MAX || all == u32::from(u16::MAX) {
        // Nobody told the limits.
        return None;
    }
    let fits = pods(all.saturating_sub(taken).max(1), limits);
    (taken > 0 && allowed > fits && allowed <= pods(all, limits)).then(|| MaxPods {
        node: node.name.clone(),
        instance_type: instance.instance_type.clone(),
        taken,
        allowed,
        fits,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        time::{Duration, Instant},
    };

    use eniway_api::NodeEniAttachmentSpec;
    use eniway_ec2::{Instance, InstanceState, Snapshot};

    use super::*;
    use crate::desired::{Pools, Provider, Wish};

    /// The number that fits on a node of the type with so many interfaces of ours on its first card.
    fn fits(instance_type: &str, taken: u8, allowed: Option<u32>) -> Option<u32> {
        let mut snapshot = Snapshot::new(Duration::ZERO);
        let instance = Instance {
            id: "i-1".into(),
            vpc: None,
            zone: "a".to_owned(),
            state: InstanceState::Running,
            instance_type: instance_type.to_owned(),
            interfaces: Vec::new(),
        };
        snapshot.read_all_instances(vec![instance], Instant::now());
        let node = Node {
            provider: Provider::Instance("i-1".into()),
            max_pods: allowed,
            ..Node::default()
        };
        let wish = |card| Wish {
            record: String::new(),
            spec: NodeEniAttachmentSpec {
                network_card_index: card,
                ..NodeEniAttachmentSpec::default()
            },
        };
        let mut desired = Desired {
            wishes: (0..taken).map(|_| wish(0)).collect(),
            ..Desired::default()
        };
        desired.wishes.push(wish(1));
        let hint = hint(
            &desired,
            Inputs {
                node: Some(&node),
                declared: &[],
                records: &[],
                snapshot: &snapshot,
                vpc: &"vpc-1".into(),
                promised: &BTreeMap::new(),
                adopt: true,
                pools: &Pools::default(),
            },
        );
        hint.map(|hint| hint.fits)
    }

    #[test]
    fn each_interface_of_ours_takes_the_pods_of_one_of_the_vpc_cni() {
        // m5.large: three interfaces of ten addresses, 29 pods.
        assert_eq!(fits("m5.large", 1, Some(29)), Some(20));
        assert_eq!(fits("m5.large", 2, Some(29)), Some(11));
        assert_eq!(fits("m5.large", 2, Some(20)), Some(11));
        // m5.4xlarge: eight of thirty, 234 pods.
        assert_eq!(fits("m5.4xlarge", 3, Some(234)), Some(147));
        // Four cards; the VPC CNI uses the first, of fifteen interfaces of fifty addresses.
        assert_eq!(fits("p4d.24xlarge", 1, Some(737)), Some(688));
    }

    #[test]
    fn who_has_the_right_number_or_another_rule_needs_no_hint() {
        assert_eq!(fits("m5.large", 1, Some(20)), None);
        assert_eq!(fits("m5.large", 1, Some(110)), None);
        assert_eq!(fits("m5.large", 0, Some(29)), None);
        assert_eq!(fits("m5.large", 1, None), None);
        assert_eq!(fits("m5.enormous", 1, Some(29)), None);
    }
}
