//! What a course does to Kubernetes: nodes, labels, NodeENIs.

use anyhow::Result;
use lab::Lab;
use serde_json::{Value, json};

use crate::course::Course;
use crate::ec2::{GROUP, ZONE, instance_id, subnet_id};
use crate::program::NAMESPACE;

pub(crate) fn node_name(number: usize) -> String {
    format!("node{number}")
}

/// The namespace of the controller, and a `Node` for each instance.
pub(crate) fn furnish(lab: &Lab, course: &Course) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE}});
    let nodes = (1..=course.nodes).map(node);
    create(lab, std::iter::once(namespace).chain(nodes))
}

pub(crate) fn add_node(lab: &Lab, number: usize) -> Result<()> {
    create(lab, std::iter::once(node(number)))
}

pub(crate) fn remove_label(lab: &Lab, number: usize) -> Result<()> {
    lab.kubectl(&["label", "node", &node_name(number), "ng-"])?;
    Ok(())
}

/// Asks for all interfaces of a course.
pub(crate) fn wish(lab: &Lab, course: &Course) -> Result<()> {
    create(lab, node_enis(course))
}

/// Takes every wish back, without waiting.
pub(crate) fn unwish(lab: &Lab) -> Result<()> {
    lab.kubectl(&["delete", "nodeenis", "--all", "--wait=false"])?;
    Ok(())
}

fn create(lab: &Lab, items: impl Iterator<Item = Value>) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()});
    lab.kubectl_with_input(&["create", "-f", "-"], &list.to_string())?;
    Ok(())
}

fn node(number: usize) -> Value {
    let name = node_name(number);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {
            "ng": "multi-eni",
            "topology.kubernetes.io/zone": ZONE,
        }},
        "spec": {"providerID": format!("aws:///{ZONE}/{}", instance_id(number))},
    })
}

fn node_enis(course: &Course) -> impl Iterator<Item = Value> {
    let subnets: Vec<_> = (1..=course.subnets).map(subnet_id).collect();
    let each = if course.apart { 1 } else { course.subnets };
    let shares: Vec<_> = subnets.chunks(each).map(<[_]>::to_vec).collect();
    let source_dest_check = course.source_dest_check;
    (1..).zip(shares).map(move |(number, subnets)| {
        json!({
            "apiVersion": "networking.k8s.aws/v1alpha1",
            "kind": "NodeENI",
            "metadata": {"name": format!("bench{number}")},
            "spec": {
                "nodeSelector": {"ng": "multi-eni"},
                "subnetIDs": subnets,
                "securityGroupNames": [GROUP],
                "sourceDestCheck": source_dest_check,
            },
        })
    })
}
