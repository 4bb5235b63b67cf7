//! Decides what is written on a node of its interfaces, for applications.

use std::sync::Arc;

use eniway_api::{DeviceIndex, Ec2State, EniId, MacAddress, NodeEniAttachment, SubnetId};
use ipnet::IpNet;
use serde::Serialize;

use crate::{action::Action, desired::Node};

/// An interface in the annotation, which is a JSON list of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Interface<'a> {
    #[serde(rename = "eniID")]
    eni: &'a EniId,
    #[serde(rename = "nodeENI")]
    node_eni: &'a str,
    #[serde(rename = "subnetID")]
    subnet: &'a SubnetId,
    mac_address: Option<MacAddress>,
    device_index: Option<DeviceIndex>,
    network_card_index: u8,
    #[serde(skip_serializing_if = "<[IpNet]>::is_empty")]
    addresses: &'a [IpNet],
    #[serde(skip_serializing_if = "<[IpNet]>::is_empty")]
    prefixes: &'a [IpNet],
}

/// What must be written on the node. An instance holds so many interfaces and addresses that a few kilobytes are the most.
#[must_use]
pub fn annotate(
    node: &Node,
    records: &[Arc<NodeEniAttachment>],
    is_wanted: bool,
) -> Option<Action> {
    let here = records.iter().filter(|_| is_wanted);
    let mut interfaces: Vec<_> = here.filter_map(|record| interface(record, node)).collect();
    interfaces.sort_by_key(|interface| interface.eni);
    let wanted = match interfaces.as_slice() {
        [] => None,
        some => serde_json::to_string(some).ok(),
    };
    (node.interfaces != wanted).then(|| Action::AnnotateNode {
        name: node.name.clone(),
        uid: node.uid.clone(),
        interfaces: wanted,
    })
}

/// What there is of an interface that EC2 has attached.
fn interface<'a>(record: &'a NodeEniAttachment, node: &Node) -> Option<Interface<'a>> {
    let spec = &record.spec;
    let ec2 = record.status.as_ref()?.ec2.as_ref()?;
    let is_here = node.instance() == Some(&spec.instance_id) && ec2.state == Ec2State::Attached;
    is_here.then_some(Interface {
        eni: ec2.eni_id.as_ref()?,
        node_eni: &spec.node_eni.name,
        subnet: &spec.subnet_id,
        mac_address: ec2.mac_address,
        device_index: ec2.device_index,
        network_card_index: ec2.network_card_index.unwrap_or_default(),
        addresses: &ec2.addresses,
        prefixes: &ec2.prefixes,
    })
}

#[cfg(test)]
mod tests {
    use eniway_api::{Ec2Status, NodeEniAttachmentSpec, NodeEniRef};

    use super::*;
    use crate::desired::Provider;

    fn record(eni: &str, instance: &str, state: Ec2State) -> Arc<NodeEniAttachment> {
        let spec = NodeEniAttachmentSpec {
            instance_id: instance.into(),
            subnet_id: "subnet-1".into(),
            node_eni: NodeEniRef {
                name: "fast".to_owned(),
                ..NodeEniRef::default()
            },
            ..NodeEniAttachmentSpec::default()
        };
        let mut record = NodeEniAttachment::new(eni, spec);
        record.status.get_or_insert_default().ec2 = Some(Ec2Status {
            state,
            eni_id: Some(eni.into()),
            mac_address: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            device_index: Some(DeviceIndex(1)),
            addresses: vec!["10.0.1.7/32".parse().unwrap()],
            ..Ec2Status::default()
        });
        Arc::new(record)
    }

    #[test]
    fn a_node_bears_what_is_attached_to_it_and_is_written_when_that_changes() {
        let mut node = Node {
            name: "node1".to_owned(),
            provider: Provider::Instance("i-1".into()),
            ..Node::default()
        };
        let records = [
            record("eni-2", "i-1", Ec2State::Attached),
            record("eni-3", "i-1", Ec2State::Detaching),
            record("eni-4", "i-2", Ec2State::Attached),
        ];
        assert_eq!(annotate(&node, &records, false), None);
        let Some(Action::AnnotateNode { interfaces, .. }) = annotate(&node, &records, true) else {
            panic!("it is new")
        };
        let said = r#"[{"eniID":"eni-2","nodeENI":"fast","subnetID":"subnet-1","macAddress":"02:00:00:00:00:01","deviceIndex":1,"networkCardIndex":0,"addresses":["10.0.1.7/32"]}]"#;
        assert_eq!(interfaces.as_deref(), Some(said));
        node.interfaces = interfaces;
        assert_eq!(annotate(&node, &records, true), None);
        for (records, is_wanted) in [(&records[1..], true), (&records[..], false)] {
            let action = annotate(&node, records, is_wanted).unwrap().to_string();
            assert_eq!(action, "write no interfaces on node node1");
        }
    }
}
