//! What a record means beside what the instance's metadata says of the same interface.

use std::{collections::BTreeSet, fmt::Display};

use eniway_api::{Ec2Status, NodeEniAttachment};
use ipnet::IpNet;

use super::Desired;
use crate::imds::Interface;

/// Lets in what EC2 gave the interface meanwhile, as the addresses that a sidecar assigns. What the metadata no longer
/// lists stays the controller's to say.
pub fn admit(desired: &mut Desired, told: &Interface) {
    if told.eni != desired.eni {
        return;
    }
    let known = desired.config.addresses.clone();
    let more = told.addresses.iter().chain(&told.prefixes);
    let more = more.filter(|one| !known.contains(one)).copied();
    desired.config.addresses.extend(more);
}

/// Where the two differ, in words. A device index of 0 is not one: so much the service says of an interface whose place
/// it does not know yet.
#[must_use]
pub fn difference(record: &NodeEniAttachment, told: &Interface) -> Option<String> {
    let ec2 = record.status.as_ref()?.ec2.as_ref()?;
    let eni = ec2.eni_id.as_ref()?;
    if *eni != told.eni {
        return Some(differs("the ENI", &told.eni, eni));
    }
    let mut differences = Vec::new();
    if record.spec.subnet_id != told.subnet {
        let subnet = &record.spec.subnet_id;
        differences.push(differs("the subnet", &told.subnet, subnet));
    }
    if let Some(index) = ec2.device_index.filter(|index| *index != told.device_index)
        && told.device_index.0 != 0
    {
        differences.push(differs("the device index", told.device_index, index));
    }
    differences.extend(addresses(ec2, told));
    (!differences.is_empty()).then(|| differences.join("; "))
}

/// The addresses and prefixes that only one of the two has.
fn addresses(ec2: &Ec2Status, told: &Interface) -> Option<String> {
    let recorded: BTreeSet<&IpNet> = ec2.addresses.iter().chain(&ec2.prefixes).collect();
    let told: BTreeSet<&IpNet> = told.addresses.iter().chain(&told.prefixes).collect();
    let list = |them: Vec<&&IpNet>| {
        let words: Vec<String> = them.iter().map(ToString::to_string).collect();
        words.join(", ")
    };
    let more = list(told.difference(&recorded).collect());
    let less = list(recorded.difference(&told).collect());
    match (more.is_empty(), less.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("only the metadata has {more}")),
        (true, false) => Some(format!("the metadata lacks {less}")),
        (false, false) => Some(format!("only the metadata has {more}, and it lacks {less}")),
    }
}

fn differs(what: &str, told: impl Display, recorded: impl Display) -> String {
    format!("{what} is {told} by the metadata and {recorded} by the record")
}

#[cfg(test)]
mod tests {
    use eniway_api::{DeviceIndex, MacAddress, NodeEniAttachmentSpec, NodeEniAttachmentStatus};

    use super::*;
    use crate::desired::{Wish, wish};

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn record() -> NodeEniAttachment {
        let spec = NodeEniAttachmentSpec {
            subnet_id: "subnet-1".into(),
            ..NodeEniAttachmentSpec::default()
        };
        let mut record = NodeEniAttachment::new("fast", spec);
        let ec2 = Ec2Status {
            eni_id: Some("eni-1".into()),
            mac_address: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            device_index: Some(DeviceIndex(1)),
            addresses: nets(&["10.0.1.7/32"]),
            ..Ec2Status::default()
        };
        record.status = Some(NodeEniAttachmentStatus {
            ec2: Some(ec2),
            ..NodeEniAttachmentStatus::default()
        });
        record
    }

    fn told() -> Interface {
        Interface {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            eni: "eni-1".into(),
            subnet: "subnet-1".into(),
            device_index: DeviceIndex(1),
            network_card: 0,
            addresses: nets(&["10.0.1.7/32"]),
            prefixes: Vec::new(),
            subnets: Vec::new(),
        }
    }

    #[test]
    fn what_ec2_gave_meanwhile_is_let_in_and_nothing_is_taken_away() {
        let Wish::Provide(mut desired) = wish(&record()) else {
            panic!("it is provided")
        };
        let more = Interface {
            addresses: nets(&["10.0.1.9/32"]),
            prefixes: nets(&["10.0.1.16/28"]),
            ..told()
        };
        let of_another = Interface {
            eni: "eni-2".into(),
            ..more.clone()
        };
        admit(&mut desired, &of_another);
        assert_eq!(desired.config.addresses, nets(&["10.0.1.7/32"]));
        admit(&mut desired, &more);
        let all = nets(&["10.0.1.7/32", "10.0.1.9/32", "10.0.1.16/28"]);
        assert_eq!(desired.config.addresses, all);
        admit(&mut desired, &more);
        assert_eq!(desired.config.addresses, all, "once");
    }

    #[test]
    fn a_difference_is_named_and_a_place_that_is_not_known_yet_is_none() {
        let check = |told: Interface| difference(&record(), &told);
        assert_eq!(check(told()), None);
        let late = Interface {
            device_index: DeviceIndex(0),
            ..told()
        };
        assert_eq!(check(late), None);
        let elsewhere = Interface {
            device_index: DeviceIndex(2),
            subnet: "subnet-2".into(),
            addresses: nets(&["10.0.1.8/32"]),
            ..told()
        };
        let said = "the subnet is subnet-2 by the metadata and subnet-1 by the record; the device index is 2 by the \
                    metadata and 1 by the record; only the metadata has 10.0.1.8/32, and it lacks 10.0.1.7/32";
        assert_eq!(check(elsewhere).as_deref(), Some(said));
        let another = Interface {
            eni: "eni-2".into(),
            ..told()
        };
        let said = "the ENI is eni-2 by the metadata and eni-1 by the record";
        assert_eq!(check(another).as_deref(), Some(said));
    }
}
